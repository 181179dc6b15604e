"""What a bundle says of its process on one screen: sentences, each with its evidence.

`gencore why` prints it and the HTML report begins with it. It is made of the manifest and of what
`gencore.analysis.answers.why` read out of the core; both are untrusted, and so is all text in it.
Nothing is claimed that neither says.
"""

from gencore._overview.deadlock_sentence import deadlock_sentence
from gencore._overview.findings import Finding
from gencore._overview.overview import WITHOUT_HEAP, Overview, about_malloc, make_overview

__all__ = [
    "WITHOUT_HEAP",
    "Finding",
    "Overview",
    "about_malloc",
    "deadlock_sentence",
    "make_overview",
]

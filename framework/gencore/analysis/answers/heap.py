"""The census of the Python objects in a core, and which of them retain the most bytes."""

from typing import Any

import attrs

from gencore.analysis import Python
from gencore.analysis.answers.retained import of_heap
from gencore.analysis.graph.reachability import heap_of
from gencore.analysis.heap.census import find_counted, take_census
from gencore.analysis.interpreter.completeness import why_incomplete
from gencore.corefile import CoreFile


def answer(
    python: Python, core: CoreFile, top: str, retained: str = "", wanted: str = ""
) -> dict[str, Any]:
    """Return the version of Python, and the census with the *top* largest objects.

    With *retained*, also as many objects that retain most, unless memory is missing in which
    others may refer to them. *wanted* is ``locals`` if keys are to be shown on the way to these,
    or empty.
    """
    holders = None
    if not retained or why_incomplete(python, core):
        census = take_census(python, top=int(top))
    else:
        census, objects = find_counted(python, top=int(top))
        if census.incomplete is None:
            shows = wanted == "locals"
            holders = of_heap(heap_of(python, objects), int(top), shows_values=shows)
    return {
        "version": python.version,
        **attrs.asdict(census),
        "retained": holders,
    }

"""The bundle: writing it, and reading one that nobody vouches for.

`writer` packs, `reader` opens single members, `extraction` unpacks, `verification` checks all of
it; `contents` is the table of contents that the first writes and the second reads.
"""

from gencore.bundle.extraction import extract
from gencore.bundle.reader import BundleReader
from gencore.bundle.verification import Check, verify
from gencore.bundle.writer import BundleWriter

__all__ = ["BundleReader", "BundleWriter", "Check", "extract", "verify"]

"""The backend ``aix``: a stub that answers "no" and names the interface to build on.

A third-party package replaces it with a backend of its own and a higher priority.
"""

import platform
import sys
from typing import Final

from gencore import Backend, DumpRequest, Reason, Snapshot, Unsupported, Verdict
from gencore.output import Output

__all__ = ["Aix"]

_REMEDY: Final = (
    "install a package with a backend for AIX, or write one: "
    "docs/how-to/support-another-platform.md"
)


class Aix(Backend):
    """Imports anywhere and works nowhere.

    The subroutine gencore() of AIX's libc (<core.h>) writes a core of a process without ending
    it. docs/how-to/support-another-platform.md explains how a package provides a backend for it.
    """

    name = "aix"
    priority = 10
    api_version = (1, 0)

    def probe(self, request: DumpRequest) -> Verdict:  # noqa: ARG002
        """Answer "no"."""
        if not sys.platform.startswith("aix"):
            return Verdict.no(Reason(f"this is {platform.system()}, not AIX"))
        text = "gencore has no implementation for AIX yet; it would build on gencore()"
        return Verdict.no(Reason(text, _REMEDY))

    def snapshot(self, request: DumpRequest, output: Output, *, to_file: bool) -> Snapshot:  # noqa: ARG002
        """Raise `Unsupported`."""
        raise Unsupported({self.name: self.probe(request)})

"""The backend ``windows``: a stub that answers "no" and names the interface to build on.

A third-party package replaces it with a backend of its own and a higher priority.
"""

import platform
import sys
from typing import Final

from gencore import Backend, DumpRequest, Reason, Snapshot, Unsupported, Verdict
from gencore.output import Output

__all__ = ["Windows"]

_REMEDY: Final = (
    "install a package with a backend for Windows, or write one: "
    "docs/how-to/support-another-platform.md"
)


class Windows(Backend):
    """Imports anywhere and works nowhere.

    MiniDumpWriteDump of dbghelp.dll, on a snapshot by PssCaptureSnapshot, writes a minidump.
    docs/how-to/support-another-platform.md explains how a package provides a backend for it.
    """

    name = "windows"
    priority = 10
    api_version = (1, 0)

    def probe(self, request: DumpRequest) -> Verdict:  # noqa: ARG002
        """Answer "no"."""
        if sys.platform != "win32":
            return Verdict.no(Reason(f"this is {platform.system()}, not Windows"))
        text = "gencore has no implementation for Windows yet; it would build on MiniDumpWriteDump"
        return Verdict.no(Reason(text, _REMEDY))

    def snapshot(self, request: DumpRequest, output: Output, *, to_file: bool) -> Snapshot:  # noqa: ARG002
        """Raise `Unsupported`."""
        raise Unsupported({self.name: self.probe(request)})

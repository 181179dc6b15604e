"""The backend ``macos-abort``: forks, lets the child abort, takes the core that macOS writes.

Not yet run on a Mac: written from XNU's sources and the manual pages of macOS, compiled with a
cross compiler, tested on a simulated Mac. See docs/explanation/macos.md.
"""

import platform
import sys

from gencore import Backend, DumpRequest, Reason, Snapshot, Verdict
from gencore.output import Output

__all__ = ["MacosAbort"]


class MacosAbort(Backend):
    """Can be imported anywhere; ``probe`` imports what needs macOS."""

    name = "macos-abort"
    priority = 50
    api_version = (1, 0)
    method = "macos-abort"

    def probe(self, request: DumpRequest) -> Verdict:
        """Check ``kern.corefile`` and its directory, the limits, and the signature."""
        if sys.platform != "darwin":
            return Verdict.no(Reason(f"this is {platform.system()}, not macOS"))
        try:
            from gencore_backends.macos import preflight, snapshot  # noqa: F401 - for snapshot()

            return preflight.probe(request)
        except ImportError as error:
            remedy = "install gencore on the Mac itself, with a C compiler"
            return Verdict.no(Reason(f"the native part is missing: {error}", remedy))
        except OSError as error:
            return Verdict.no(Reason(f"the settings of macOS cannot be read: {error}"))

    def snapshot(self, request: DumpRequest, output: Output, *, to_file: bool) -> Snapshot:  # noqa: ARG002 - macOS always writes a file
        """Fork. The child enters *output* and aborts there."""
        from gencore_backends.macos import snapshot  # imported already, by probe

        return snapshot.AbortSnapshot(request, output)

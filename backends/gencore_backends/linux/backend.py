"""What both Linux backends answer where there is no Linux, or no /proc."""

import platform
import sys
from abc import abstractmethod

from gencore import Backend, DumpRequest, Reason, Verdict

__all__ = ["LinuxBackend"]


class LinuxBackend(Backend):
    """Imports anywhere; what needs Linux is imported by `_probe`."""

    def probe(self, request: DumpRequest) -> Verdict:
        """Say no elsewhere; on Linux let the backend look for itself."""
        if sys.platform != "linux":
            return Verdict.no(Reason(f"this is {platform.system()}, not Linux"))
        try:
            return self._probe(request)
        except OSError as error:
            return Verdict.no(Reason(f"/proc cannot be read: {error}", "mount /proc"))

    @abstractmethod
    def _probe(self, request: DumpRequest) -> Verdict:
        """Look at what this backend needs. Raises OSError where /proc is missing."""

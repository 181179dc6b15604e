"""What both Linux backends answer where there is no Linux, or no /proc."""

import errno
import platform
import sys
from abc import abstractmethod
from typing import Final

from gencore import Backend, DumpRequest, Reason, Verdict
from gencore.runtime import reraise_if_from_handler

__all__ = ["LinuxBackend"]

_WITH_THE_GIL: Final = "run the program with an interpreter whose name does not end in t"


class LinuxBackend(Backend):
    """Imports anywhere; what needs Linux is imported by `_probe`."""

    def probe(self, request: DumpRequest) -> Verdict:
        """Say no elsewhere; on Linux let the backend look for itself."""
        if sys.platform != "linux":
            return Verdict.no(Reason(f"this is {platform.system()}, not Linux"))
        if "t" in sys.abiflags:  # before the native part is loaded, which could crash there
            text = "this Python is free-threaded, and the native part needs the GIL"
            return Verdict.no(Reason(text, _WITH_THE_GIL))
        try:
            return self._probe(request)
        except OSError as error:
            reraise_if_from_handler(error)
            few = error.errno in {errno.EMFILE, errno.ENFILE}
            remedy = "raise the limit on open files (ulimit -n)" if few else "mount /proc"
            return Verdict.no(Reason(f"/proc cannot be read: {error}", remedy))

    @abstractmethod
    def _probe(self, request: DumpRequest) -> Verdict:
        """Look at what this backend needs. Raises OSError where /proc is missing."""

"""What all Linux backends answer on other systems, and if /proc is missing."""

import errno
import platform
import sys
from abc import abstractmethod
from typing import Final

from gencore import Backend, DumpRequest, Reason, Verdict
from gencore.runtime import reraise_if_from_handler

__all__ = ["LinuxBackend"]

_WITH_THE_GIL: Final = "run the program with a Python build that has the GIL"


class LinuxBackend(Backend):
    """Can be imported anywhere; `_probe` imports what needs Linux."""

    def probe(self, request: DumpRequest) -> Verdict:
        """Answer no on other systems; on Linux ask the backend itself."""
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
        """Check what this backend needs. Raises OSError if /proc is missing."""

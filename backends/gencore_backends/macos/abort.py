"""The backend ``macos-abort``: fork, let the child abort, take the core that macOS writes.

Never run on a Mac yet: written after fork(2), core(5) and sysctl(3) of macOS.
"""

import contextlib
import os
import platform
import shutil
import signal
import sys
from pathlib import Path
from typing import Final

from gencore import (
    Backend,
    CoreFailed,
    CoreStream,
    DumpRequest,
    FileCoreStream,
    Reason,
    Snapshot,
    ThreadRecord,
    Verdict,
)
from gencore.output import Output

__all__ = ["MacosAbort"]

_CORES: Final = Path("/cores")
_CORE: Final = "core"


class MacosAbort(Backend):
    """See the module."""

    name = "macos-abort"
    priority = 50
    api_version = (1, 0)
    method = "macos-abort"

    def probe(self, request: DumpRequest) -> Verdict:
        """Look at the platform, /cores and the limit."""
        if sys.platform != "darwin":
            return Verdict.no(Reason(f"this is {platform.system()}, not macOS"))
        if request.content != "full":
            return Verdict.no(Reason("macOS writes full cores only", "ask for content='full'"))
        import resource

        if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
            return Verdict.no(Reason("RLIMIT_CORE has a hard limit of 0", "ulimit -Hc unlimited"))
        if not os.access(_CORES, os.W_OK):
            remedy = "sudo chmod 1777 /cores"
            return Verdict.no(Reason("this user may not write to /cores", remedy))
        return Verdict.yes()

    def snapshot(self, request: DumpRequest, output: Output, *, to_file: bool) -> Snapshot:  # noqa: ARG002 - macOS always writes a file
        """Fork. The child aborts."""
        return _Snapshot(output)


class _Snapshot(Snapshot):
    def __init__(self, output: Output) -> None:
        from gencore_backends.macos import _native

        self._output = output
        self.phases = {}
        try:
            self._pid, self._status_fd = _native.snapshot(output.fd)
        except OSError as error:
            raise CoreFailed(str(error.filename), error.errno or 0) from error
        self._reaped = False

    @property
    def threads(self) -> tuple[ThreadRecord, ...]:
        """None: macOS does not tell which threads a forked image had."""
        return ()

    def core(self) -> CoreStream:
        """Wait for the child, and take its core from where ``kern.corefile`` sent it."""
        from gencore_backends.macos import _native

        _, status = os.waitpid(self._pid, 0)
        self._reaped = True
        failure = _native.read_failure(self._status_fd)
        if failure is not None:
            raise CoreFailed(*failure)
        if not os.WCOREDUMP(status):
            raise CoreFailed(
                "kernel-dump",
                detail="macOS wrote no core",
                remedy="sign the interpreter with com.apple.security.get-task-allow",
            )
        for path in self._candidates():
            if path.is_file():
                shutil.move(path, self._output.path / _CORE)
                return FileCoreStream(self._output, _CORE)
        raise CoreFailed("find-core", detail=f"no core of process {self._pid} was found")

    def _candidates(self) -> list[Path]:
        pid = str(self._pid)
        pattern = _sysctl("kern.corefile").replace("%P", pid).replace("%U", str(os.getuid()))
        named = Path(pattern.replace("%N", Path(sys.executable).name))
        return [self._output.path / named, _CORES / f"core.{pid}"]

    def abort(self) -> None:
        """Kill the child."""
        if not self._reaped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        """Reap the child."""
        if not self._reaped:
            self.abort()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._reaped = True
        os.close(self._status_fd)


def _sysctl(name: str) -> str:
    """Return a string from sysctl(3)."""
    import ctypes

    value = ctypes.create_string_buffer(1024)
    size = ctypes.c_size_t(len(value))
    if ctypes.CDLL(None).sysctlbyname(name.encode(), value, ctypes.byref(size), None, 0):
        return "/cores/core.%P"
    return os.fsdecode(value.value)

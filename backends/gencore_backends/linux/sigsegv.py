"""The backend ``linux-sigsegv``: clone, let the clone die of SIGSEGV, take the kernel's core.

The kernel writes the core, so everything that core(5) says applies: ``core_pattern``,
RLIMIT_CORE, the coredump filter. The other threads' memory is whole; of registers the core has
the calling thread's.
"""

import contextlib
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import Final

from gencore import (
    Backend,
    CoreFailed,
    CoreStream,
    DumpRequest,
    MappedFile,
    Reason,
    Snapshot,
    ThreadRecord,
    Verdict,
)
from gencore.output import Output
from gencore_backends.linux.core_pattern import CorePattern

__all__ = ["LinuxSigsegv"]

_FILTERS: Final = {"full": 0xFF, "private": 0x33}
"""Bits of core(5), "Controlling which mappings are written". 0x33: anonymous memory, pages of
files that the process changed, and the first page of every ELF file."""
_CORE: Final = "core"
_GLANCE: Final = 0.001
"""Seconds between two looks for a file that the kernel is about to make."""
_MINIMUM_KERNEL: Final = (5, 4)  # waitid(P_PIDFD)
_ONLY_CALLER: Final = "linux-sigsegv reads the registers of the calling thread only"


class LinuxSigsegv(Backend):
    """See the module."""

    name = "linux-sigsegv"
    priority = 50
    api_version = (1, 0)
    method = "kernel-core"

    def probe(self, request: DumpRequest) -> Verdict:
        """Look at the platform, core_pattern, the limits and the dumpable attribute."""
        if sys.platform != "linux":
            return Verdict.no(Reason(f"this is {platform.system()}, not Linux"))
        if _kernel() < _MINIMUM_KERNEL:
            remedy = "run it on Linux 5.4 or later"
            return Verdict.no(Reason(f"the kernel is {platform.release()}", remedy))
        try:
            return _probe_linux(request)
        except OSError as error:
            return Verdict.no(Reason(f"/proc cannot be read: {error}", "mount /proc"))

    def snapshot(self, request: DumpRequest, output: Output) -> Snapshot:
        """Clone. The child enters *output* and dies there."""
        return _Snapshot(_FILTERS[request.content], output)


class _Snapshot(Snapshot):
    def __init__(self, coredump_filter: int, output: Output) -> None:
        from gencore_backends.linux import _native
        from gencore_backends.linux.child import Child
        from gencore_backends.linux.proc import thread_ids

        self._output = output
        self._tids = thread_ids()
        try:
            pid, pidfd, status_fd, nanoseconds = _native.snapshot(output.fd, coredump_filter)
        except OSError as error:
            step = str(error.filename)
            raise CoreFailed(step, error.errno or 0, remedy=_REMEDIES.get(step)) from error
        self._child = Child(pid, pidfd, status_fd)
        self.phases = {"clone": nanoseconds / 1e9}

    @property
    def threads(self) -> tuple[ThreadRecord, ...]:
        """The calling thread's registers are exact, the others' missing."""
        from gencore_backends.linux.proc import thread_name

        first, *others = self._tids
        caller = ThreadRecord(tid=first, name=thread_name(first), registers="exact")
        return (
            caller,
            *(
                ThreadRecord(
                    tid=tid, name=thread_name(tid), registers="missing", reason=_ONLY_CALLER
                )
                for tid in others
            ),
        )

    def core(self) -> CoreStream:
        """Find the kernel's file, and make its notes speak of this process."""
        from gencore_backends.linux.kernel_core import KernelCore

        pattern = CorePattern.read()
        if pattern.absolute:
            self._child.wait_for_core()
            _move(_find_absolute(pattern, self._child.pid), self._output.path / _CORE)
        else:
            self._find()
        return KernelCore(self._output, _CORE, self._child, self._tids[0])

    def abort(self) -> None:
        """Kill the child; the kernel stops writing."""
        self._child.kill()

    def close(self) -> None:
        """Reap the child."""
        self._child.close()

    @property
    def written(self) -> int:
        """Bytes on disk of what is in the private directory."""
        with contextlib.suppress(OSError):
            return sum(entry.stat().st_blocks * 512 for entry in os.scandir(self._output.fd))
        return 0

    def mapped_files(self) -> tuple[MappedFile, ...]:
        """Read /proc/self/maps, a moment after the instant."""
        from gencore_backends.linux.proc import mapped_files

        return mapped_files()

    def _find(self) -> None:
        """Wait for a file in the private directory, and name it ``core``."""
        while not (names := os.listdir(self._output.fd)) and not self._child.ended(_GLANCE):
            pass
        names = names or os.listdir(self._output.fd)
        if len(names) != 1:
            self._child.wait_for_core()
            raise CoreFailed("find-core", detail=f"{len(names)} files in the private directory")
        self._output.rename(names[0], _CORE)


def _find_absolute(pattern: CorePattern, child_pid: int) -> Path:
    from gencore.corefile import CoreFile

    for path in pattern.find(child_pid):
        with contextlib.suppress(Exception), CoreFile(path) as core:
            if core.thread_ids[:1] == (child_pid,) and path.stat().st_uid == os.geteuid():
                return path
    raise CoreFailed(
        "find-core", detail=f"nothing there matches kernel.core_pattern {pattern.text!r}"
    )


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:  # another file system
        with source.open("rb") as reader, target.open("xb") as writer:
            os.fchmod(writer.fileno(), 0o600)
            shutil.copyfileobj(reader, writer, 1 << 20)
        source.unlink()


_REMEDIES: Final = {
    "clone": "raise the limit on processes (ulimit -u, pids.max), or give the process more memory",
    "pipe": "raise the limit on open files (ulimit -n)",
}


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])


def _probe_linux(request: DumpRequest) -> Verdict:
    import resource

    from gencore_backends.linux import _native
    from gencore_backends.linux.proc import core_size

    pattern = CorePattern.read()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    file_hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    need = core_size(with_files=request.content == "full")
    facts = {
        "core_pattern": pattern.text,
        "RLIMIT_CORE hard": _bytes_of(hard),
        "RLIMIT_FSIZE hard": _bytes_of(file_hard),
        "dumpable": str(_native.dumpable()),
        "kernel": platform.release(),
    }
    reasons = [
        *_pattern_reasons(pattern),
        *_limit_reasons("RLIMIT_CORE", hard, need),
        *_limit_reasons("RLIMIT_FSIZE", file_hard, need),
        *_request_reasons(request),
        *_dumpable_reasons(_native.dumpable()),
    ]
    if reasons:
        return Verdict.no(*reasons, facts=facts)
    return Verdict.yes(core_size=need, facts=facts)


def _bytes_of(limit: int) -> str:
    return "unlimited" if limit < 0 else f"{limit:,} bytes"


def _pattern_reasons(pattern: CorePattern) -> list[Reason]:
    remedy = "on the host, as root: sysctl kernel.core_pattern=core (it holds for the machine)"
    if pattern.handler is not None:
        return [Reason(f"kernel.core_pattern sends cores to {pattern.handler}", remedy)]
    if not pattern.text and not pattern.uses_pid:
        return [Reason("kernel.core_pattern is empty: the kernel writes no cores", remedy)]
    if not pattern.absolute and "/" in pattern.text:
        text = f"kernel.core_pattern {pattern.text!r} names a subdirectory, which does not exist"
        return [Reason(text, remedy)]
    if pattern.absolute and not os.access(pattern.fixed_directories, os.W_OK | os.X_OK):
        text = f"kernel.core_pattern sends cores to {pattern.fixed_directories}, which this user"
        return [Reason(f"{text} may not write to", f"make it writable, or {remedy}")]
    return []


def _limit_reasons(name: str, hard: int, need: int) -> list[Reason]:
    if hard < 0 or hard >= need:
        return []
    option = {"RLIMIT_CORE": "c", "RLIMIT_FSIZE": "f"}[name]
    text = f"{name} has a hard limit of {hard:,} bytes; the core may need {need:,}"
    remedy = (
        f"start the process with a higher one: ulimit -H{option} unlimited, or --ulimit core=-1"
    )
    return [Reason(text, remedy)]


def _request_reasons(request: DumpRequest) -> list[Reason]:
    if request.content in _FILTERS:
        return []
    text = f"the kernel cannot leave out what content={request.content!r} leaves out"
    return [Reason(text, "ask for content='private'")]


def _dumpable_reasons(dumpable: int) -> list[Reason]:
    if dumpable == 1:
        return []
    remedy = "start it without set-user-ID, file capabilities or PR_SET_DUMPABLE"
    return [Reason(f"the process is not dumpable ({dumpable}; see prctl(2))", remedy)]

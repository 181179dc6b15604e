"""Checks what Linux must permit for a dump, and names the remedy if it does not."""

import os
import platform
import re
import resource
from collections.abc import Collection
from typing import Final

from gencore import DumpRequest, Reason, Verdict
from gencore_backends.linux import _native
from gencore_backends.linux.core_pattern import CorePattern
from gencore_backends.linux.dumpable import undumpable_reasons
from gencore_backends.linux.own_clone import UNKNOWN_PYTHON, WITH_HEAP, can_include
from gencore_backends.linux.proc import core_size, stacks_size

__all__ = ["core_size_of", "probe_elf", "probe_kernel_core"]

_MIB: Final = 1 << 20
_MINIMUM_KERNEL: Final = (5, 4)  # waitid(P_PIDFD)


def probe_elf(request: DumpRequest, contents: Collection[str]) -> Verdict:
    """Check whether a clone can write its own core. Raises OSError if /proc is missing."""
    return _verdict(request, contents, _core_size_of_handed(request), {}, [])


def probe_kernel_core(request: DumpRequest, contents: Collection[str]) -> Verdict:
    """Check whether the kernel would write a core. Raises OSError if /proc is missing."""
    pattern = CorePattern.read()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    file_soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    need = core_size_of(request)
    facts = {"core_pattern": pattern.text, "RLIMIT_CORE hard": _bytes_of(hard)}
    reasons = [*_pattern_reasons(pattern), *_limit_reasons("RLIMIT_CORE", hard, need)]
    if file_soft != resource.getrlimit(resource.RLIMIT_FSIZE)[1]:  # this process adds the notes
        reasons += _limit_reasons("RLIMIT_FSIZE", file_soft, need, "soft")
    if request.with_dontdump:
        text = "the kernel leaves out memory marked with MADV_DONTDUMP"
        reasons.append(Reason(text, "use the backend linux-elf"))
    return _verdict(request, contents, need, facts, reasons)


def _core_size_of_handed(request: DumpRequest) -> int | None:
    """Do the same; None of a target that has ended, whose clone was handed over before."""
    try:
        return core_size_of(request)
    except (FileNotFoundError, ProcessLookupError):
        if request.target.handover is None:
            raise
        return None


def core_size_of(request: DumpRequest) -> int:
    """Estimate from above the bytes of a core, as the target is now. Raises OSError."""
    target = request.target
    if request.content in WITH_HEAP:
        return core_size(target, with_files=request.content == "full")
    return min(core_size(target, with_files=False), stacks_size(target))


def _verdict(
    request: DumpRequest,
    contents: Collection[str],
    need: int | None,
    facts: dict[str, str],
    reasons: list[Reason],
) -> Verdict:
    """Add the checks that every Linux backend needs."""
    file_hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    facts |= {
        "RLIMIT_FSIZE hard": _bytes_of(file_hard),
        "dumpable": str(_native.dumpable()),
        "kernel": platform.release(),
    }
    reasons = [
        *_kernel_reasons(),
        *reasons,
        *_limit_reasons("RLIMIT_FSIZE", file_hard, need or 0),
        *_request_reasons(request, contents),
        *_undumpable_reasons(request),
        *_userfaultfd_reasons(),
    ]
    if reasons:
        return Verdict.no(*reasons, facts=facts)
    return Verdict.yes(core_size=need, facts=facts)


def _kernel_reasons() -> list[Reason]:
    kernel = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
    if kernel >= _MINIMUM_KERNEL:
        return []
    return [Reason(f"kernel {platform.release()} is too old", "use Linux 5.4 or later")]


def _bytes_of(limit: int) -> str:
    if limit == resource.RLIM_INFINITY:
        return "unlimited"
    return f"{limit:,} bytes" if limit < _MIB else f"{limit / _MIB:,.0f} MiB"


def _pattern_reasons(pattern: CorePattern) -> list[Reason]:
    remedy = "on the host, as root: sysctl kernel.core_pattern=core (for the whole machine)"
    if pattern.handler is not None:
        return [Reason(f"kernel.core_pattern sends cores to {pattern.handler}", remedy)]
    if not pattern.text and not pattern.uses_pid:
        return [Reason("kernel.core_pattern is empty: the kernel writes no cores", remedy)]
    if not pattern.absolute and "/" in pattern.text:
        text = f"kernel.core_pattern {pattern.text!r} names a subdirectory, which does not exist"
        return [Reason(text, remedy)]
    if pattern.absolute and not os.access(pattern.fixed_directories, os.W_OK | os.X_OK):
        text = f"kernel.core_pattern sends cores to {pattern.fixed_directories}"
        return [Reason(f"{text}, not writable by this user", f"make it writable, or {remedy}")]
    return []


def _limit_reasons(name: str, limit: int, need: int, which: str = "hard") -> list[Reason]:
    if limit == resource.RLIM_INFINITY or limit >= need:
        return []
    shell, container = {"RLIMIT_CORE": ("c", "core"), "RLIMIT_FSIZE": ("f", "fsize")}[name]
    text = f"{name} has a {which} limit of {_bytes_of(limit)}; the core may need {_bytes_of(need)}"
    remedy = (
        f"start the process with a higher limit: ulimit -{which[0].upper()}{shell} unlimited, "
        f"or the container with --ulimit {container}=-1"
    )
    return [Reason(text, remedy)]


def _request_reasons(request: DumpRequest, contents: Collection[str]) -> list[Reason]:
    if request.content in contents and can_include(request.content):
        return []
    why = f": {UNKNOWN_PYTHON}" if request.content in contents else ""
    return [Reason(f"content={request.content!r} is unsupported{why}", "pass content='private'")]


def _undumpable_reasons(request: DumpRequest) -> list[Reason]:
    """Leave it to the target of a recorder, which has looked at itself.

    A recorder is not dumpable if it has gained capabilities: root's has those that its target has
    given up.
    """
    if request.allow_undumpable or request.target.handover is not None:
        return []
    return undumpable_reasons()


def _userfaultfd_reasons() -> list[Reason]:
    """A clone returns only once its report is read, and the reading thread would be stopped."""
    if not _native.userfaultfd_reports_forks():
        return []
    text = "a userfaultfd of this process reports forks to it (UFFD_FEATURE_EVENT_FORK)"
    remedy = "drop UFFD_FEATURE_EVENT_FORK from UFFDIO_API, or read it in another process"
    return [Reason(f"{text}, so a clone would never return", remedy)]

"""Whether this process may trace another one, and whether that one can be cloned: nothing is done.

Rules: ptrace(2), "Ptrace access mode checking"; Documentation/admin-guide/LSM/Yama.rst.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from gencore import Reason, TargetUnavailable
from gencore.runtime import reraise_if_from_handler
from gencore.target import Target
from gencore_backends.linux.agent_client import Identity
from gencore_backends.linux.proc import read_status

__all__ = ["check_rights", "obstacles", "why_closed_by_yama", "yama_scope"]

_YAMA: Final = Path("/proc/sys/kernel/yama/ptrace_scope")
_NO_ATTACH: Final = 3
"""The value that also binds root, and cannot be changed until the machine is booted again."""
_WHO_MAY_TRACE: Final = {
    1: "its ancestors and with CAP_SYS_PTRACE only",
    2: "who has CAP_SYS_PTRACE only",
}
_ARM: Final = "arm it, which needs no tracing: gencore exec -- COMMAND"
_REPORTS_FORKS: Final = 1 << 1
"""UFFD_EVENT_FORK, among the features of a userfaultfd."""
_FEATURES: Final = re.compile(r"^API:\t\w+:(\w+)", re.MULTILINE)
_SECCOMP_STRICT: Final = "1"
_CLASS_64, _CLASS_AT = 2, 4


def check_rights(target: Target) -> None:
    """Raise `TargetUnavailable` if the process has ended, or may not be traced by this one."""
    status = _status_of(target)
    tracer = int(status["TracerPid"])
    if tracer:
        raise TargetUnavailable(
            f"process {target.pid} is traced by process {tracer} already ({_name_of(tracer)})",
            remedy=f"end that one, or let it detach: ps -fp {tracer}",
        )
    if "VmSize" not in status:
        ended = status["State"].startswith(("Z", "X"))
        what = "has ended, and waits for its parent" if ended else "is a thread of the kernel"
        raise TargetUnavailable(f"process {target.pid} {what}")
    try:
        os.close(os.open(target.proc("mem"), os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        reraise_if_from_handler(error)
        what, remedy = _why_closed(target, status)
        raise TargetUnavailable(f"process {target.pid} {what}", remedy=remedy) from error


def _status_of(target: Target) -> Mapping[str, str]:
    try:
        return read_status(target)
    except (FileNotFoundError, ProcessLookupError) as error:
        remedy = "list those that do: ps -e"
        raise TargetUnavailable(f"process {target.pid} does not exist", remedy=remedy) from error


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
    except OSError:
        return "unknown"


def _why_closed(target: Target, status: Mapping[str, str]) -> tuple[str, str]:
    """Return why its memory is closed to this process, and the remedy."""
    with_rights = _with_rights(target)
    scope = yama_scope()
    user = int(status["Uid"].split()[0])
    if user != os.geteuid() and scope != _NO_ATTACH:
        return f"belongs to another user ({user})", with_rights
    if scope:
        return why_closed_by_yama(scope, with_rights)
    return "has rights that this process lacks, or is not dumpable (prctl(2))", with_rights


def _with_rights(target: Target) -> str:
    """Return what to type for the rights of a debugger: root lacks them in most containers."""
    if os.geteuid():
        return f"sudo gencore dump --ptrace {target.pid}"
    return "docker run --cap-add SYS_PTRACE ..."


def yama_scope() -> int:
    """Return kernel.yama.ptrace_scope; 0, no restriction, of a kernel without it."""
    try:
        return int(_YAMA.read_text())
    except OSError:
        return 0


def why_closed_by_yama(scope: int, with_rights: str) -> tuple[str, str]:
    """Return why a process may not be traced where the scope is 1, 2 or 3, and the remedy."""
    who = _WHO_MAY_TRACE.get(scope, "nobody")
    what = f"may be traced by {who}: kernel.yama.ptrace_scope is {scope}"
    return what, with_rights if scope in _WHO_MAY_TRACE else _ARM


def obstacles(target: Target, *, allow_undumpable: bool) -> Iterator[Reason]:
    """Yield what else stands against a clone of the process. Raises OSError."""
    status = _status_of(target)
    for check in _CHECKS:
        text = check.applies(target, status)
        if text and not (check.is_dumpable and allow_undumpable):
            yield Reason(f"process {target.pid} {text}", check.remedy)


@attrs.frozen
class _Check:
    applies: Callable[[Target, Mapping[str, str]], str | None]
    remedy: str | None
    is_dumpable: bool = False


def _is_own(target: Target, _: Mapping[str, str]) -> str | None:
    return "is this one, which cannot trace itself" if target.pid == os.getpid() else None


def _is_32_bit(target: Target, _: Mapping[str, str]) -> str | None:
    with open(target.proc("exe"), "rb") as file:  # noqa: PTH123 - a link that is not resolved
        head = file.read(_CLASS_AT + 1)
    return "runs a 32-bit program" if head[_CLASS_AT:] != bytes([_CLASS_64]) else None


def _is_undumpable(target: Target, status: Mapping[str, str]) -> str | None:
    """The files of such a process belong to root; see proc(5)."""
    owner = Path(target.proc("status")).stat().st_uid
    if owner == int(status["Uid"].split()[1]):
        return None
    return "is not dumpable (prctl(2)), most often because it changed its user"


def _is_sealed(_: Target, status: Mapping[str, str]) -> str | None:
    strict = status.get("Seccomp") == _SECCOMP_STRICT
    return "is in seccomp's strict mode, which would kill it" if strict else None


def _has_shadow_stack(_: Target, status: Mapping[str, str]) -> str | None:
    has = "shstk" in status.get("x86_Thread_features", "").split()
    return "uses a shadow stack, which refuses returns of ours" if has else None


def _reports_forks(target: Target, _: Mapping[str, str]) -> str | None:
    for link in Path(target.proc("fd")).iterdir():
        try:
            if os.readlink(link) != "anon_inode:[userfaultfd]":
                continue
            text = (link.parents[1] / "fdinfo" / link.name).read_text()
        except OSError:  # closed meanwhile
            continue
        features = _FEATURES.search(text)
        if features and int(features[1], 16) & _REPORTS_FORKS:
            return "reports forks to a userfaultfd of its own: a clone would never return"
    return None


def _is_armed(target: Target, _: Mapping[str, str]) -> str | None:
    """Its agent knows what is excluded from its cores, and nobody else does."""
    mark = f" @gencore/{Identity.read(target)}\n"
    listens = mark in Path(target.proc("net/unix")).read_text(errors="replace")
    return "is armed: only its agent knows what is excluded" if listens else None


_CHECKS: Final = (
    _Check(_is_own, "name another process"),
    _Check(_is_32_bit, "use gdb's gcore"),
    _Check(_is_undumpable, "pass --allow-undumpable", is_dumpable=True),
    _Check(_is_sealed, None),
    _Check(_has_shadow_stack, "use gdb's gcore"),
    _Check(_reports_forks, "use gdb's gcore"),
    _Check(_is_armed, "leave --ptrace away"),
)

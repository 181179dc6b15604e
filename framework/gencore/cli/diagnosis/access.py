"""How a process can be reached: by its agent, or by ptrace where the rights suffice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gencore._pipeline.pipeline import Pipeline
from gencore._settings.options import Options
from gencore.arming import armed_processes
from gencore.cli.diagnosis.row import Case, Row
from gencore.cli.diagnosis.status import read_status
from gencore.cli.options import PTRACE
from gencore.errors import GencoreError, Unsupported
from gencore.target import Target

__all__ = ["PTRACE_ROW", "agents", "confinement", "ptrace"]

PTRACE_ROW: Final = "ptrace"
_YAMA: Final = Path("/proc/sys/kernel/yama/ptrace_scope")
_SCOPES: Final = {
    "0": "0: processes of the same user may be traced",
    "1": "1: only descendants may be traced without CAP_SYS_PTRACE",
    "2": "2: only with CAP_SYS_PTRACE may a process be traced",
    "3": "3: no process may be traced until the machine is booted again",
}
_CAP_SYS_PTRACE: Final = 19
_FILTER: Final = "2"
_ARM: Final = "gencore exec -- COMMAND"


def agents(case: Case) -> Iterator[Row]:
    """Say whether the target is armed; without one, how many processes are."""
    try:
        armed = list(armed_processes())
    except Unsupported:
        return
    if case.target.other is None:
        text = f"{len(armed)}: gencore ps" if armed else "0"
        yield Row("armed_processes", "ok", len(armed), text)
        return
    hidden = case.target.hidden
    for process in armed:
        if process.agent == hidden.name if hidden else process.pid == case.target.pid:
            text = f"agent {process.agent}, dumped {process.dumps} times"
            yield Row("armed", "ok", True, text)  # noqa: FBT003 - a value
            return
    yield Row("armed", "no", False, "no agent answers to this user", _ARM)  # noqa: FBT003


def ptrace(case: Case) -> Iterator[Row]:
    """Say whether the target could be traced instead, if it cannot be dumped otherwise."""
    if case.target.other is None or case.prospect is not None:
        return
    try:
        options: Options = {"backend": PTRACE, "directory": case.directory}
        options["target"] = case.target  # type: ignore[typeddict-item]  # others have pids
        found = Pipeline(**options).prospect()
    except GencoreError as error:
        yield Row(PTRACE_ROW, "no", False, error.message, error.remedy)  # noqa: FBT003
    else:
        remedy = f"gencore dump --ptrace {case.target.pid}"
        yield Row(PTRACE_ROW, "ok", True, f"possible, by {found.backend}", remedy)  # noqa: FBT003
    yield from _rights()


def _rights() -> Iterator[Row]:
    """Yield what decides whether other processes may be traced."""
    try:
        scope = _YAMA.read_text().strip()
        yield Row("ptrace_scope", "note", int(scope), _SCOPES.get(scope, scope))
    except (OSError, ValueError):  # a kernel without it
        pass
    capabilities = int(read_status(Target()).get("CapEff", "0"), 16)
    has = bool(capabilities >> _CAP_SYS_PTRACE & 1)
    yield Row("cap_sys_ptrace", "ok" if has else "note", has, "yes" if has else "no")


def confinement(case: Case) -> Iterator[Row]:
    """Say whether a filter of system calls might refuse what a dump needs."""
    if read_status(case.target).get("Seccomp") == _FILTER:
        text = "a filter is active, and may refuse a call that a dump needs"
        yield Row("seccomp", "note", int(_FILTER), text, "gencore demo")

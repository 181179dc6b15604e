"""Finds the processes of this machine whose agents listen."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from gencore import Reason, TargetUnavailable, Unsupported, UsageError, Verdict
from gencore.runtime import reraise_if_from_handler
from gencore.target import ArmedProcess, Target
from gencore_backends.linux.agent_client import LIST_THEM, Answer, Identity, ask, listening
from gencore_backends.linux.agent_directories import directories_of
from gencore_backends.linux.hidden_processes import hidden_targets
from gencore_backends.linux.proc import read_status

__all__ = ["armed_processes", "find_target"]

_NOT_TO_BE_ASKED: Final = (
    TargetUnavailable,
    OSError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
)
"""It has ended meanwhile, or its agent answers to others only, or nonsense."""
_IN_NAME: Final = 2
"""Slashes in the name of an agent."""
_ANOTHER_ID: Final = "name it by its agent: gencore dump {}"


def armed_processes() -> Iterator[ArmedProcess]:
    """Yield those that this process may ask, by pid; then those of other PID namespaces.

    Raises `Unsupported` without /proc.
    """
    seen = set()
    for target, identity in _visible(_all_pids()):
        seen.add(str(identity))
        with suppress(*_NOT_TO_BE_ASKED), ask(target) as answer:
            yield _describe(target, identity, answer)
    for _, target, answer in hidden_targets(_names_here() - seen):
        with suppress(*_NOT_TO_BE_ASKED):
            yield _describe(target, Identity.read(target), answer)


def _names_here() -> set[str]:
    """Return the names of the agents that listen in this network."""
    try:
        return listening()
    except OSError as error:
        reraise_if_from_handler(error)
        verdict = Verdict.no(Reason(f"/proc cannot be read: {error}", "mount /proc"))
        raise Unsupported({"agent": verdict}) from error


def find_target(named: str) -> Target:
    """Return the process that a pid, or the name of an agent, means.

    A pid means the process that has it here, and the hidden ones that see themselves under it, if
    they are armed. Raises `TargetUnavailable`, `UsageError` if it means several, and
    `Unsupported` without /proc.
    """
    inner = _inner_pid(named)
    pids = [int(named)] if named.isdecimal() else _all_pids()
    visible = {str(identity): target for target, identity in _visible(pids)}
    names = {name for name in _names_here() if _inner_pid(name) == inner}
    hidden = {name: target for name, target, _ in hidden_targets(names)}
    found = visible | hidden
    if named in found:
        return found[named]
    if not named.isdecimal():
        raise TargetUnavailable(f"agent {named} does not listen in this network", remedy=LIST_THEM)
    if len(found) > 1:
        what = f"{named} is the ID of several armed processes: {', '.join(sorted(found))}"
        raise UsageError(what, remedy=_ANOTHER_ID.format(min(hidden)))
    unarmed = Target(int(named))  # of which the backend says why it cannot be dumped
    return next(iter(found.values()), unarmed)


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _visible(pids: Iterable[int]) -> Iterator[tuple[Target, Identity]]:
    """Yield those processes that are in /proc and listen, in the order of their pids."""
    networks: dict[int, set[str]] = {}
    for pid in sorted(pids):
        target = Target(pid)
        with suppress(*_NOT_TO_BE_ASKED):
            identity = Identity.read(target)
            network = os.stat(target.proc("ns/net")).st_ino  # noqa: PTH116 - no objects
            if network not in networks:
                networks[network] = listening(target.proc("net"))
            if str(identity) in networks[network] or _has_socket(target, identity):
                yield target, identity


def _inner_pid(named: str) -> str:
    """Return the pid in the name of an agent; a pid is one itself."""
    return named.split("/")[1] if named.count("/") == _IN_NAME else named


def _has_socket(target: Target, identity: Identity) -> bool:
    """Whether there is a socket in a directory: that of a container with its own network."""
    root = target.proc("root")
    return any(
        os.path.lexists(f"{root}{directory}/{identity.file_name}")
        for directory in directories_of(identity.user)
    )


def _describe(target: Target, identity: Identity, answer: Answer) -> ArmedProcess:
    fields = read_status(target)
    facts = answer.values.get("facts") or {}
    last = answer.values["last"]
    return ArmedProcess(
        agent=str(identity),
        hidden=target.hidden is not None,
        pid=target.pid,
        parent=int(fields["PPid"]),
        user=identity.user,
        name=fields["Name"],
        argv=tuple(map(str, facts.get("argv", ()))),
        started_at=_started_at(identity),
        memory=int(fields["VmRSS"].split()[0]) * 1024,
        threads=int(fields["Threads"]),
        dumps=int(answer.values["captures"]),
        last_dump=datetime.fromtimestamp(last, UTC) if last else None,
    )


def _started_at(identity: Identity) -> datetime:
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - identity.start / os.sysconf("SC_CLK_TCK")
    return datetime.fromtimestamp(time.time() - age, UTC)

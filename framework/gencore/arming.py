"""Arms this process: from then on ``gencore dump PID`` dumps it, whatever its threads do.

Loads little: it runs at the start of every process below ``gencore exec``.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, Protocol

from gencore._runtime import standing
from gencore._runtime.interpreter_facts import interpreter_facts

if TYPE_CHECKING:
    from gencore.target import ArmedProcess

__all__ = ["Agent", "arm", "arm_with", "armed_processes", "disarm", "is_armed"]

_DISTRIBUTION: Final = "gencore"
"""Only its own agents are looked for: they run in every armed process, before anything else."""
_GROUP: Final = "gencore.agents"


class Agent(Protocol):
    """A module that is an entry point in ``gencore.agents``, named as its `sys.platform`."""

    arm: Callable[[bytes], None]
    """Start the agent, with what this process says of itself as JSON; if it runs, take that."""
    disarm: Callable[[], None]
    is_armed: Callable[[], bool]
    set_excluded: Callable[[Iterable[tuple[int, int]]], None]
    """Keep memory, as (start, end) in order, out of every core."""
    armed_processes: "Callable[[], Iterator[ArmedProcess]]"


def arm() -> None:
    """Start this process's agent: a sleeping thread that needs no Python to run.

    It lets other processes of the same user, and of root, take dumps: see ``gencore dump``. A
    forked child is armed too. Arm after privileges are dropped: what a thread drops for itself
    later does not reach the agent. Does nothing if it runs already.

    Raises `Unsupported` where there is no agent, and `Refused` if it cannot start.
    """
    try:
        arm_with(_agent())
    except OSError as error:
        from gencore.errors import Refused

        raise Refused(
            f"the agent cannot start: {error.strerror}",
            remedy="raise the limits on threads and open files (ulimit -u, ulimit -n)",
        ) from error


def arm_with(agent: Agent) -> None:
    """Start that agent. Raises OSError."""
    _tell(agent)
    standing.follower[:] = [lambda: _tell(agent) if agent.is_armed() else None]


def disarm() -> None:
    """End the agent, if there is one."""
    if is_armed():
        _agent().disarm()


def is_armed() -> bool:
    """Return whether the agent of this process runs."""
    from gencore.errors import Unsupported

    try:
        return _agent().is_armed()
    except Unsupported:
        return False


def armed_processes() -> "Iterator[ArmedProcess]":
    """Yield the armed processes that this one may dump, by pid. Raises `Unsupported`."""
    return _agent().armed_processes()


def _tell(agent: Agent) -> None:
    """Arm it, or let it know what has changed."""
    agent.set_excluded(standing.excluded_ranges())
    agent.arm(_facts())


def _agent() -> Agent:
    from importlib import import_module
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = distribution(_DISTRIBUTION).entry_points.select(group=_GROUP)
        (module,) = (entry.module for entry in found if entry.name == sys.platform)
    except (PackageNotFoundError, ValueError) as error:
        from gencore.errors import Unsupported
        from gencore.verdict import Reason, Verdict

        verdict = Verdict.no(Reason(f"there is none for {sys.platform}", "run it on Linux"))
        raise Unsupported({"agent": verdict}) from error
    return import_module(module)


def _facts() -> bytes:
    facts = {
        "argv": sys.orig_argv,
        "runtime": interpreter_facts(),
        "annotations": standing.annotations,
    }
    return json.dumps(facts).encode()

"""Arms this process: from then on ``gencore dump PID`` dumps it, whatever its threads do.

Loads little: it runs at the start of every process below ``gencore exec``.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from gencore._runtime import standing
from gencore._runtime.interpreter_facts import interpreter_facts
from gencore._runtime.platform_agent import agent

if TYPE_CHECKING:
    from gencore.process import ThreadRecord
    from gencore.request import DumpRequest
    from gencore.target import ArmedProcess

__all__ = ["Agent", "Capture", "arm", "arm_with", "armed_processes", "disarm", "is_armed"]


class Agent(Protocol):
    """A module that is an entry point in ``gencore.agents``, named as its `sys.platform`."""

    arm: Callable[[bytes], None]
    """Start the agent, with what this process says of itself as JSON; if it runs, take that."""
    disarm: Callable[[], None]
    is_armed: Callable[[], bool]
    set_excluded: Callable[[Iterable[tuple[int, int]]], None]
    """Keep memory, as (start, end) in order, out of every core."""
    armed_processes: "Callable[[], Iterator[ArmedProcess]]"
    why_not_recorded: "Callable[[DumpRequest], str | None]"
    """Return why a recorder cannot make a dump of this process."""
    spawn: Callable[[bytes, list[bytes], list[bytes], int], int]
    """Start a program, by its path, arguments and environment, that is no child of this process
    and has nothing of it but a descriptor, as its standard input. Return its pidfd."""
    hand_over: "Callable[[DumpRequest, int, int, bytes], Capture]"
    """Clone this process for a recorder, which is given by a socket to it and its pidfd; send it
    what leads to the clone, with what this process says of itself as JSON. Raises `CoreFailed`."""


class Capture(Protocol):
    """A clone of this process that its recorder reads."""

    phases: "Mapping[str, float]"
    """The parts of the pause, in seconds."""

    @property
    def threads(self) -> "tuple[ThreadRecord, ...]":
        """Every thread at the instant, the calling one first."""

    def close(self) -> None:
        """End the clone, if it has not ended, and reap it."""


def arm() -> None:
    """Start this process's agent: a sleeping thread that needs no Python to run.

    It lets other processes of the same user, and of root, take dumps: see ``gencore dump``. A
    forked child is armed too. Arm after privileges are dropped: what a thread drops for itself
    later does not reach the agent. Does nothing if it runs already.

    Raises `Unsupported` where there is no agent, and `Refused` if it cannot start.
    """
    try:
        arm_with(agent())
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
        agent().disarm()


def is_armed() -> bool:
    """Return whether the agent of this process runs."""
    from gencore.errors import Unsupported

    try:
        return agent().is_armed()
    except Unsupported:
        return False


def armed_processes() -> "Iterator[ArmedProcess]":
    """Yield the armed processes that this one may dump, by pid. Raises `Unsupported`."""
    return agent().armed_processes()


def _tell(agent: Agent) -> None:
    """Arm it, or let it know what has changed."""
    agent.set_excluded(standing.excluded_ranges())
    agent.arm(_facts())


def _facts() -> bytes:
    facts = {
        "argv": sys.orig_argv,
        "runtime": interpreter_facts(),
        "annotations": standing.annotations,
    }
    return json.dumps(facts).encode()

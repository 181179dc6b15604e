"""Arms this process: from then on ``gencore dump PID`` dumps it, whatever its threads do.

Loads little: it runs at the start of every process below ``gencore exec``.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from gencore._runtime import standing
from gencore._runtime.interpreter_facts import interpreter_facts
from gencore._runtime.platform_agent import agent

if TYPE_CHECKING:
    from gencore.huge_pages import HugePages
    from gencore.process import ThreadRecord
    from gencore.request import DumpRequest
    from gencore.target import ArmedProcess, Target
    from gencore.triggers import TriggerChoice

__all__ = [
    "Agent",
    "Capture",
    "Program",
    "arm",
    "arm_from_environment",
    "armed_processes",
    "disarm",
    "find_target",
    "is_armed",
]


Program = tuple[list[bytes], list[bytes], list[bytes], int]
"""What can be started: arguments, of which the first is its path; names of variables that its
environment is without; others that it has too (``NAME=VALUE``); the descriptor of its input."""


class Agent(Protocol):
    """A module that is an entry point in ``gencore.agents``, named as its `sys.platform`."""

    arm: Callable[[bytes], None]
    """Start the agent, with what this process says of itself as JSON; if it runs, take that."""
    disarm: Callable[[], None]
    is_armed: Callable[[], bool]
    set_excluded: Callable[[Iterable[tuple[int, int]]], None]
    """Keep memory, as (start, end) in order, out of every core."""
    armed_processes: "Callable[[], Iterator[ArmedProcess]]"
    find_target: "Callable[[str], Target]"
    """Return the process that a process ID or the name of an agent means. Raises
    `TargetUnavailable`, and `UsageError` if it means several."""
    why_not_recorded: "Callable[[DumpRequest], str | None]"
    """Return why a recorder cannot make a dump of this process."""
    runs: Callable[[bytes], bool]
    """Return whether this process runs the program of that path."""
    open_channel: Callable[[bytes, list[int]], None]
    """Make a pair of local sockets, from whose second end the message can be read, and append both
    to the list. Raises OSError."""
    send_message: Callable[[int, bytes], None]
    """Send another one that can be read there. Waits for nothing, not even the GIL. Raises
    OSError."""
    inherited: Callable[[], bytes]
    """Return what a program would have of this thread if it were started now, to compare: user,
    rights, directories, namespaces. Waits for nothing, not even the GIL."""
    may_look_at: Callable[[int], bool]
    """Return whether this thread may look at the process of a pidfd, which those that are more
    confined than it may not. Waits for nothing, not even the GIL."""
    spawn: "Callable[[Program, list[int]], None]"
    """Start a program that is no child of this process, and has nothing of it but its standard
    input. Append its pidfd to the list. Raises OSError."""
    take_packets: Callable[[int], list[tuple[bytes, tuple[int, ...]]]]
    """Return what has arrived at a local socket, with the descriptors of each packet; the last one
    is empty once the other end is closed. Waits for nothing, not even the GIL. Raises OSError."""
    close_last: Callable[[list[int]], None]
    """Close the last local socket of the list and remove it from there, in one step; waits for
    nothing, not even the GIL."""
    let_go: Callable[[int, int], None]
    """Close the socket to a program so started, and its pidfd; reap it if it is a child."""
    collapse_memory: "Callable[[float | None], HugePages]"
    """Collapse the memory of this process into huge pages, as far as that is possible, and for so
    many seconds at most; None: as long as the platform thinks right."""
    collapse_memory_of: "Callable[[Target, float | None], HugePages | None]"
    """Let the agent of another process do the same; None if it is too old for that. Raises
    `TargetUnavailable`."""
    new_capture: "Callable[[], Capture]"
    """Return one that is not taken yet."""
    set_triggers: Callable[[list[tuple[str, int, int, int, int]], list[bytes], list[bytes]], None]
    """Set its triggers, as `Trigger.row`, and the arguments of the command that it starts when one
    fires, with the reason and the process ID behind them, and the names of variables that its
    environment is without. Raises OSError: EBUSY if a signal has a handler."""
    new_beat: Callable[[], int]
    """Return a number for the beats of an event loop. Raises OSError."""
    beat: Callable[[int, float], None]
    """Let the agent wait for the next beat of that number (0: the GIL's): so many seconds."""
    suspend_beat: Callable[[int, bool], None]
    """Let it wait for none; if true, for ever."""
    ask_for_dump: Callable[[bytes, float], None]
    """Fire the trigger for exceptions, and wait, so many seconds at most, for the instant."""
    call_after_fork_in_parent: Callable[[Callable[[], object]], None]
    """Set what is called when it begins again after an os.fork() for which it has paused."""
    room_for_clone: Callable[[int], tuple[int, int] | None]
    """Return the bytes that are free for a process, and those that a clone of it may copy."""


class Capture(Protocol):
    """A clone of this process that its recorder reads."""

    take: "Callable[[DumpRequest, int, int | Program, bytes], None]"
    """Clone this process for a recorder, which is given by a socket to it and its pidfd; send it
    what leads to the clone, with what this process says of itself as JSON. A program in the place
    of the pidfd is started by the clone, which says so at the socket. Raises `CoreFailed`.

    Little is done behind the clone, as each page of memory that is then written to is copied."""

    @property
    def phases(self) -> "Mapping[str, float]":
        """The parts of the pause, in seconds."""

    @property
    def threads(self) -> "tuple[ThreadRecord, ...]":
        """Every thread at the instant, the calling one first."""

    def close(self) -> None:
        """End the clone, if it has not ended, and reap it."""


def arm(
    *,
    triggers: "Iterable[TriggerChoice] | None" = None,
    directory: str | os.PathLike[str] | None = None,
) -> None:
    """Start this process's agent: a sleeping thread that needs no Python to run.

    It lets other processes of the same user, and of root, take dumps: see ``gencore dump``. A
    forked child is armed too. Arm after privileges are dropped: what a thread drops for itself
    later does not reach the agent. If it runs already, it goes on.

    With *triggers*, which take the place of those before, it looks at the process from time to
    time, and has it dumped into *directory*, or where the settings say. With each dump it writes a
    line to standard error. In a forked child the triggers have fired for nothing yet. If none are
    given, an agent that starts has those of GENCORE_TRIGGERS, or else of the file of
    GENCORE_CONFIG; one that runs already keeps its own.

    Raises `Unsupported` where there is no agent, `Refused` if it or a trigger cannot start, and
    `UsageError`.
    """
    try:
        starts = not agent().is_armed()
        arm_with(agent())
        if triggers is not None:
            _set_triggers(agent(), triggers, directory)
        elif starts:
            _set_triggers_of_settings(agent(), directory)
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


def arm_from_environment(agent: Agent) -> None:
    """Start that agent, with the triggers of the settings.

    Raises OSError and `GencoreError`.
    """
    arm_with(agent)
    _set_triggers_of_settings(agent, None)


def _set_triggers_of_settings(agent: Agent, directory: str | os.PathLike[str] | None) -> None:
    if os.environ.get("GENCORE_TRIGGERS") or os.environ.get("GENCORE_CONFIG"):
        from gencore._triggers.choices import triggers_of_settings

        if triggers := triggers_of_settings(os.environ):
            _set_triggers(agent, triggers, directory)


def _set_triggers(
    agent: Agent, triggers: "Iterable[TriggerChoice]", directory: str | os.PathLike[str] | None
) -> None:
    from gencore._triggers.setting import set_triggers

    set_triggers(agent, triggers, directory)


def disarm() -> None:
    """End the agent with its triggers, if there is one."""
    if is_armed():
        if "gencore._triggers.setting" in sys.modules:
            _set_triggers(agent(), [], None)
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


def find_target(named: str) -> "Target":
    """Return the process that a process ID or the name of an agent means.

    An ID may be that of a hidden process, see `Target.hidden`, as that process sees it. Raises
    `TargetUnavailable`, `Unsupported`, and `UsageError` if it means several.
    """
    return agent().find_target(named)


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

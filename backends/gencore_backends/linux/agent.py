"""The agent of this process, as `gencore.arm` starts it: native/agent.c behind a few functions.

Loads little, as `gencore.arming`.
"""

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from gencore_backends.linux import _native
from gencore_backends.linux.agent_directories import directories_of
from gencore_backends.linux.memory_cgroup import memory_cgroup, room_for_clone

if TYPE_CHECKING:
    from gencore import DumpRequest
    from gencore.huge_pages import HugePages
    from gencore.target import ArmedProcess, Target
    from gencore_backends.linux.capture import Capture

__all__ = [
    "arm",
    "arm_if_asked",
    "armed_processes",
    "ask_for_dump",
    "beat",
    "call_after_fork_in_parent",
    "close_last",
    "collapse_memory",
    "collapse_memory_of",
    "disarm",
    "find_target",
    "inherited",
    "is_armed",
    "let_go",
    "may_look_at",
    "new_beat",
    "new_capture",
    "open_channel",
    "room_for_clone",
    "runs",
    "send_message",
    "set_excluded",
    "set_triggers",
    "spawn",
    "suspend_beat",
    "take_packets",
    "why_not_recorded",
]

runs = _native.runs
inherited = _native.inherited
may_look_at = _native.may_look_at
open_channel = _native.open_channel
send_message = _native.send_message
spawn = _native.spawn
take_packets = _native.take_packets
let_go = _native.let_go
ask_for_dump = _native.ask_for_dump
beat = _native.beat
call_after_fork_in_parent = _native.call_after_fork_in_parent
close_last = _native.close_last
new_beat = _native.new_beat
suspend_beat = _native.suspend_beat

_WARNS_OF_THREADS = sys.version_info >= (3, 12)
"""Whether os.fork() counts the threads of the process, and warns if there are several."""
_hooked = False


def arm(facts: bytes) -> None:
    """Start it, with what the process says of itself as JSON; again: set that anew.

    Raises OSError.
    """
    directory = None if _native.is_armed() else _own_directory()  # which it has already
    _native.find_python()
    _native.arm(os.fsencode(directory or ""), facts)
    _follow_forks()


def disarm() -> None:
    """End it."""
    _native.disarm()


def is_armed() -> bool:
    """Return whether it listens."""
    return _native.is_armed()


def set_excluded(ranges: Iterable[tuple[int, int]]) -> None:
    """Set the memory that it keeps out of every core, as (start, end). Raises OSError."""
    _native.set_agent_excluded(tuple(ranges))


def set_triggers(
    rows: list[tuple[str, int, int, int, int]], arguments: list[bytes], left_out: list[bytes]
) -> None:
    """Set its triggers, and the command that it starts when one fires. Raises OSError."""
    *files, version = memory_cgroup()
    usage, limit, statistics = map(os.fsencode, files)
    _native.set_triggers(rows, (usage, limit, statistics, version), arguments, left_out)


def armed_processes() -> "Iterator[ArmedProcess]":
    """Yield the armed processes that this one may ask, by pid."""
    from gencore_backends.linux.armed_processes import armed_processes

    return armed_processes()


def find_target(named: str) -> "Target":
    """Return the process that a process ID or the name of an agent means.

    Raises `TargetUnavailable`, and `UsageError` if it means several.
    """
    from gencore_backends.linux.armed_processes import find_target

    return find_target(named)


def why_not_recorded(request: "DumpRequest") -> str | None:
    """Return why a recorder cannot make a dump of this process."""
    from gencore_backends.linux import capture

    if request.huge_pages:  # loaded now: by the dump, its files may be gone, or another version's
        from gencore_backends.linux import huge_pages  # noqa: F401

    return capture.why_not_recorded(request)


def collapse_memory(timeout: float | None) -> "HugePages":
    """Collapse that of this process into huge pages, for *timeout* seconds at most."""
    from gencore_backends.linux import huge_pages

    return huge_pages.collapse_memory(total=huge_pages.within(timeout))


def collapse_memory_of(target: "Target", timeout: float | None) -> "HugePages | None":
    """Let the agent of another process do the same; None if it is too old for that."""
    from gencore_backends.linux import huge_pages

    return huge_pages.collapse_memory_of(target, timeout)


def new_capture() -> "Capture":
    """Return what can clone this process for a recorder."""
    from gencore_backends.linux.capture import Capture

    return Capture()


@cache
def arm_if_asked() -> None:
    """Arm this process if GENCORE_ARM is set, and neither empty nor 0.

    Called by ``gencore.pth``, which `site` runs in every interpreter of an environment in which
    gencore is installed, and twice in a virtual one. Whatever goes wrong, the program must start.
    """
    if os.environ.get("GENCORE_ARM", "0") in {"", "0"}:
        return
    try:
        from gencore.arming import arm_from_environment

        arm_from_environment(sys.modules[__name__])
    except Exception as error:
        if sys.stderr is not None:
            print(f"gencore: not armed as asked: {error}", file=sys.stderr)  # noqa: T201


def _follow_forks() -> None:
    """Keep os.fork() from warning. What a fork makes of the agent itself is native/agent.c's."""
    global _hooked  # noqa: PLW0603 - once in a process
    if _WARNS_OF_THREADS and not _hooked:
        _hooked = True
        os.register_at_fork(
            before=_native.before_fork, after_in_parent=_native.after_fork_in_parent
        )


def _own_directory() -> str | None:
    """Return a directory of this user's for the socket, or None if there can be none."""
    for directory in directories_of(os.geteuid()):
        with suppress(OSError):
            with suppress(FileExistsError):
                os.mkdir(directory, 0o700)  # noqa: PTH102 - no objects
            found = os.lstat(directory)
            if (
                stat.S_ISDIR(found.st_mode)
                and found.st_uid == os.geteuid()
                and not found.st_mode & 0o077
            ):
                _sweep(directory)
                return directory
    return None


def _sweep(directory: str) -> None:
    """Remove the sockets of processes of this PID namespace that have ended."""
    own = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - no objects
    for name in os.listdir(directory):
        namespace, _, rest = name.removesuffix(".sock").partition("-")
        pid = rest.partition("-")[0]
        if namespace == str(own) and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):  # noqa: PTH110
            with suppress(OSError):
                os.unlink(f"{directory}/{name}")  # noqa: PTH108

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

Thread: TypeAlias = tuple[int, str, str | None]
Snapshot: TypeAlias = tuple[int, int, int, dict[str, float], list[Thread], int]
Message: TypeAlias = (
    tuple[Literal["size"], int, int]
    | tuple[Literal["unreadable", "more-unreadable", "not-inherited", "wiped"], int, int]
    | tuple[Literal["step"], str, int]
    | tuple[Literal["failure"], str, int]
    | tuple[Literal["done"], int, int]
)
RegisterSet: TypeAlias = tuple[int, bytes]
TracedThread: TypeAlias = tuple[int, str, str | None, list[RegisterSet]]
Trace: TypeAlias = tuple[int, int, int, dict[str, float], list[TracedThread], int]

Ranges: TypeAlias = Sequence[tuple[int, int]]

STEPS: list[tuple[str, str, str]]

def snapshot_for_kernel(
    directory_fd: int,
    coredump_filter: int,
    excluded: Ranges,
    allow_undumpable: bool,
    threads: str,
    timeout_ms: int,
    taken: list[Snapshot],
    /,
) -> None: ...
def snapshot_to_elf(
    core_fd: int,
    content: str,
    excluded: Ranges,
    with_dontdump: bool,
    allow_undumpable: bool,
    threads: str,
    timeout_ms: int,
    taken: list[Snapshot],
    /,
) -> None: ...
def hand_over(
    channel: int,
    reader: int,
    facts: bytes,
    content: str,
    excluded: Ranges,
    with_dontdump: bool,
    allow_undumpable: bool,
    threads: str,
    timeout_ms: int,
    taken: list[Snapshot],
    /,
) -> None: ...
def collapse(
    total_ms: int, stall_ms: int, room: int, /
) -> tuple[int, int, int, int, int, int, int, str | None, int]: ...
def take_packets(socket: int, /) -> list[tuple[bytes, tuple[int, ...]]]: ...
def end_clone(pidfd: int, status_fd: int, is_ours: bool, /) -> None: ...
def let_go(channel: int, pidfd: int, /) -> None: ...
def read_message(status_fd: int, /) -> Message | None: ...
def dumpable() -> int: ...
def auxiliary_value(row: int, /) -> int: ...
def userfaultfd_reports_forks() -> bool: ...
def arm(directory: bytes, facts: bytes, /) -> None: ...
def disarm() -> None: ...
def is_armed() -> bool: ...
def set_agent_excluded(excluded: Ranges, /) -> None: ...
def before_fork() -> None: ...
def after_fork_in_parent() -> None: ...
def trace(pid: int, every_thread: bool, timeout_ms: int, taken: list[Trace], /) -> None: ...
def reap_left_clones(pid: int, /) -> int: ...
def socket_in_network(network: int, /) -> int: ...
def runs(path: bytes, /) -> bool: ...
def spawn(
    path: bytes,
    arguments: list[bytes],
    environment: list[bytes],
    standard_input: int,
    started: list[int],
    /,
) -> None: ...
def spawn_with_message(
    path: bytes,
    arguments: list[bytes],
    environment: list[bytes],
    message: bytes,
    started: list[int],
    /,
) -> None: ...
def set_triggers(
    rows: list[tuple[str, int, int, int, int]],
    cgroup: tuple[bytes, bytes, bytes, int],
    arguments: list[bytes],
    environment: list[bytes],
    /,
) -> None: ...
def find_python() -> bool: ...
def new_beat() -> int: ...
def beat(number: int, seconds: float, /) -> None: ...
def suspend_beat(number: int, for_ever: bool, /) -> None: ...
def ask_for_dump(text: bytes, seconds: float, /) -> None: ...
def call_after_fork_in_parent(function: Callable[[], object], /) -> None: ...

"""What the threads in a core wait for, who holds it, and where these threads are."""

from collections.abc import Iterable
from typing import Any

from gencore.analysis import Python, Thread, Wait, find_deadlocks, read_stacks, read_waits
from gencore.analysis.locking.waiting import waits_in
from gencore.analysis.threads.system_calls import name_of
from gencore.analysis.threads.thread_names import thread_names
from gencore.corefile import CoreFile


def answer(python: Python, core: CoreFile) -> dict[str, Any]:
    """Return the waits, the threads that are in them, and the deadlocks as lists of tids."""
    waits = read_waits(python, core)
    involved = {tid for wait in waits for tid in (wait.tid, wait.lock.owner)}
    threads = read_stacks(python, core, thread_names(python)) if waits else ()
    return {
        "waits": [row_of(wait) for wait in waits],
        "threads": [_thread(thread) for thread in threads if thread.tid in involved],
        "deadlocks": [[wait.tid for wait in cycle] for cycle in find_deadlocks(waits)],
    }


def cycles_of(waits: Iterable[Wait]) -> list[list[dict[str, Any]]]:
    """Return each deadlock as a list of waits."""
    return [[row_of(wait) for wait in cycle] for cycle in find_deadlocks(waits)]


def row_of(wait: Wait) -> dict[str, Any]:
    """Return a wait as JSON types."""
    lock = wait.lock
    return {
        "tid": wait.tid,
        "forever": wait.forever,
        "within": wait.within,
        "kind": lock.kind,
        "address": f"{lock.address:#x}",
        "type": lock.type_name,
        "module": lock.module,
        "held_by": lock.owner,
        "known_by": lock.known_by,
        "is_owner_gone": lock.is_owner_gone,
    }


def _thread(thread: Thread) -> dict[str, Any]:
    """Return a thread with the innermost frame outside of the library that it waits in."""
    own = (frame for frame in thread.frames if not waits_in(frame.file))
    frame = next(own, next(iter(thread.frames), None))
    return {
        "tid": thread.tid,
        "name": thread.name,
        "state": thread.state,
        "system_call": name_of(thread.system_call),
        "function": frame.function if frame else None,
        "file": frame.file if frame else None,
        "line": frame.line if frame else None,
    }

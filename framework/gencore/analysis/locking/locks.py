"""Finds what the threads of a dumped process wait for, and who holds that."""

import re
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import Final, Literal

import attrs

from gencore.analysis.inspection.objects import read_text
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python, ThreadState
from gencore.analysis.locking.futexes import identities_in, sleeping_threads
from gencore.analysis.locking.lock_evidence import leads_to
from gencore.analysis.locking.lock_owners import OwnerReader, holds_itself, threads_inside
from gencore.analysis.locking.waiting import Kind, Reason, ReasonReader
from gencore.analysis.threads.frame_values import FrameValues
from gencore.analysis.threads.stacks import registers_of
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

__all__ = ["Lock", "Wait", "read_waits"]

_GLIBC: Final = re.compile(r"/libc(\.so\.6|-2\.\d+\.so)$")
_MOST_THREADS: Final = 1 << 16
_OUTLIVE: Final = ("RLock", "module lock")
"""Locks that may have the record of a thread that is gone."""

KnownBy = Literal["record", "with", "identity"]


@attrs.frozen(kw_only=True)
class Lock:
    """A lock that some thread waits for, or what is built on locks."""

    address: int
    """Of the object; of the GIL its structure."""
    kind: Kind
    type_name: str | None
    """Of the object: ``queue.LifoQueue`` is a ``Queue`` too. None of the GIL, or if missing."""
    module: str | None
    """What a module lock is of: threads wait for it that import the module."""
    owner: int | None
    """The tid of the thread that holds it, or is to end; None if it is unknown, or gone."""
    known_by: KnownBy | None
    """A record of the owner in the object, or the ``with`` block that the owner is in.

    ``identity`` is a record that is in doubt: no frame of the thread leads to the lock, so it may
    be of a thread that has ended, whose identity this one got.
    """
    is_owner_gone: bool
    """Whether the thread in the record has ended: nobody will release the lock."""


@attrs.frozen(kw_only=True)
class Wait:
    """A thread that waits for a lock, or for what is built on locks."""

    tid: int
    lock: Lock
    forever: bool
    """False if it waits with a time limit, after which it may do something else."""
    within: str | None
    """The function of the standard library that waits, as ``Queue.get``."""


def read_waits(python: Python, core: CoreFile) -> tuple[Wait, ...]:
    """Return the threads that wait for a lock, as far as it is certain, in core order.

    Raises `IntegrityError` unless it is glibc on x86-64, and `AbsentMemory` if none is found and
    what threads wait for is missing, as in cores of the content ``stacks``.
    """
    libc = any(_GLIBC.search(row.path) for row in core.mapped_ranges)
    if core.machine != "EM_X86_64" or not libc:
        raise IntegrityError("unsupported: locks are known of CPython with glibc on x86-64")
    return _Reading(python, core).waits()


class _Reading:
    """One core."""

    def __init__(self, python: Python, core: CoreFile) -> None:
        registers = registers_of(core)
        places = {tid: place for place, tid in enumerate(core.thread_ids)}
        states = sorted(
            islice(python.threads(), _MOST_THREADS),
            key=lambda state: places.get(state.tid, len(places)),
        )
        self._python, self._sleeps = python, sleeping_threads(registers)
        self._all_states = states
        self._states = {state.tid: state for state in states}
        inner = [state for state in reversed(states) if any(python.frames(state))]
        self._states |= {state.tid: state for state in inner}  # of two interpreters the inner one
        self._values, self._frames = Values(python), FrameValues(python)
        self._owners = OwnerReader(python, self._values)
        self._tids = identities_in(registers)
        self._tids |= {self._owners.identity(state): state.tid for state in states}

    def waits(self) -> tuple[Wait, ...]:
        """Return what is found. Raises `AbsentMemory`."""
        reasons = self._reasons()
        locks = {reason.address for reason in reasons.values() if reason.kind == "Lock"}
        inside = threads_inside(self._python, self._values, self._frames, self._all_states, locks)
        for tid, reason in reasons.items():
            if not self._has_taken_twice(tid, reason, inside[reason.address]):
                inside[reason.address].discard(tid)
        waits = (self._wait(tid, why, inside[why.address]) for tid, why in reasons.items())
        return tuple(wait for wait in waits if not _has_just_got_it(wait))

    def _has_taken_twice(self, tid: int, reason: Reason, inside: set[int]) -> bool:
        """Whether a thread waits for a Lock that it has itself, and no other can have."""
        return inside == {tid} and holds_itself(
            self._python, self._values, self._frames, self._states[tid], reason.address
        )

    def _reasons(self) -> dict[int, Reason]:
        reader = ReasonReader(self._python, self._values, self._frames)
        found, missing = {}, None
        for tid, state in self._states.items():
            sleep = self._sleeps.get(tid)
            try:
                if sleep and (reason := reader.of(state, sleep.address)):
                    found[tid] = reason
            except AbsentMemory as error:
                missing = error
        if missing and not found:
            raise missing
        return found

    def _wait(self, tid: int, reason: Reason, inside: set[int]) -> Wait:
        owner, known_by = self._holder(self._states[tid], reason, inside)
        lock = Lock(
            address=reason.address,
            kind=reason.kind,
            type_name=None if reason.kind == "GIL" else self._type_name(reason.address),
            module=self._module(reason),
            owner=owner,
            known_by=known_by,
            is_owner_gone=known_by == "record" and owner is None,
        )
        forever = self._sleeps[tid].forever and reason.kind != "GIL"
        return Wait(tid=tid, lock=lock, forever=forever, within=reason.within)

    def _holder(
        self, state: ThreadState, reason: Reason, inside: set[int]
    ) -> tuple[int | None, KnownBy | None]:
        """Return the tid of the owner, None if it is unknown or gone, and how it is known."""
        if reason.kind == "Lock":
            return (next(iter(inside)), "with") if len(inside) == 1 else (None, None)
        if reason.kind == "GIL":
            holder = self._python.gil_holder(state.interpreter)
            tids = [other.tid for other in self._all_states if other.address == holder]
            return (tids[0], "record") if tids else (None, None)
        identity = self._owners.identity_in(reason)
        owner = self._tids.get(identity)
        in_doubt = reason.kind in _OUTLIVE and owner is not None and not self._has(owner, reason)
        return (owner, "identity" if in_doubt else "record") if identity else (None, None)

    @cache  # noqa: B019 - it lives as long as one reading
    def _has(self, tid: int, reason: Reason) -> bool:
        """Whether frames of a thread lead to a lock; yes if the thread's are unknown."""
        state = self._states.get(tid)
        return state is None or leads_to(
            self._python, self._values, self._frames, state, reason.address
        )

    def _type_name(self, thing: int) -> str | None:
        with suppress(AbsentMemory):
            return self._values.type_name(thing)
        return None

    def _module(self, reason: Reason) -> str | None:
        if reason.kind != "module lock":
            return None
        with suppress(AbsentMemory):
            name = self._values.attributes(reason.address).get("name", 0)
            return read_text(self._python.memory, self._python.layout, name)
        return None


def _has_just_got_it(wait: Wait) -> bool:
    return wait.lock.known_by != "with" and wait.lock.owner == wait.tid

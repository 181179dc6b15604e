"""Says in which function of asyncio a suspended coroutine waits, and for which object.

It is the outermost of the functions of asyncio that it is in. If it awaits a future itself, what
that stands for is known only of a job of an executor.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final

import attrs

from gencore.analysis.asynchronous.coroutines import CoroutineReader
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory, Memory
from gencore.analysis.threads.stacks import Frame

__all__ = ["Awaited", "AwaitedReader"]

_ASYNCIO: Final = re.compile(r"/asyncio/[a-z_]+\.py$")
_AROUND: Final = {"_ContextManagerMixin.__aenter__", "wait_for"}
"""Functions that only lead to the one which waits, if they do."""
_SLEEP: Final = "sleep"
_OF_SOCKET: Final = ".sock_"
_SOCKET: Final = "_socket.socket"
_DESCRIPTOR_AT: Final = 16
"""In a ``PySocketSockObject``."""
_SHOWN: Final = {
    "_locked": "locked",
    "_value": "value",
    "_maxsize": "maxsize",
    "_unfinished_tasks": "unfinished",
    "_state": "state",
    "_sock_fd": "descriptor",
}
"""Attributes of what is waited for that say why, and what they are called here."""
_COUNTED: Final = {"_queue": "items", "_waiters": "waiting", "_tasks": "tasks"}
_TRANSPORT: Final = "_transport"
_DEEPEST: Final = 4
"""Transports in one another: one may be its own."""
_LONGEST: Final = 60


@attrs.frozen(kw_only=True)
class Awaited:
    """What a coroutine waits for, as far as it is known."""

    function: str
    """The qualified name of asyncio's function, such as ``Queue.get``."""
    type_name: str | None
    """Of the object whose method that is."""
    address: int | None
    """Of that object."""
    detail: str
    """What is known of it, such as ``maxsize=10, items=10``."""


class AwaitedReader:
    """Reads what coroutines wait for."""

    def __init__(self, memory: Memory, values: Values, coroutines: CoroutineReader) -> None:
        """Read from a Python's memory."""
        self._memory, self._values, self._coroutines = memory, values, coroutines
        self._details_of = cache(lambda thing: ", ".join(self._details(thing)))
        """Many may wait for one object."""

    def read(self, frames: Sequence[tuple[int, Frame]]) -> Awaited | None:
        """Return what the innermost of a coroutine's frames waits for; None if it is unknown.

        *frames* have their addresses, outermost first.
        """
        within: tuple[int, Frame] | None = None
        for address, frame in reversed(frames):
            if not _ASYNCIO.search(frame.file):
                break
            if within is None or frame.function not in _AROUND:
                within = address, frame
        if within is None:
            return None
        try:
            return self._of(*within)
        except AbsentMemory:
            return Awaited(function=within[1].function, type_name=None, address=None, detail="")

    def executor_job(self, job: int) -> Awaited:
        """Return the same of a ``concurrent.futures.Future`` that is awaited."""
        state = self._values.show(self._values.attributes(job).get("_state", 0), _LONGEST)
        return Awaited(
            function="run_in_executor",
            type_name=self._values.type_name(job),
            address=job,
            detail=f"state={state}",
        )

    def _of(self, address: int, frame: Frame) -> Awaited:
        first = self._coroutines.variable(address, 0)
        if frame.function == _SLEEP:
            detail = f"delay={self._values.show(first, _LONGEST)}"
            return Awaited(function=_SLEEP, type_name=None, address=None, detail=detail)
        if "." not in frame.function:
            return Awaited(function=frame.function, type_name=None, address=None, detail="")
        if _OF_SOCKET in frame.function:
            first = self._coroutines.variable(address, 1)
        return Awaited(
            function=frame.function,
            type_name=self._values.type_name(first),
            address=first,
            detail=self._details_of(first),
        )

    def _details(self, thing: int, depth: int = 0) -> Iterator[str]:
        if _SOCKET in self._values.type_of(thing).lineage:
            yield f"descriptor={self._memory.number(thing + _DESCRIPTOR_AT, 4)}"
        attributes = self._values.attributes(thing)
        if _TRANSPORT in attributes and depth < _DEEPEST:
            yield from self._details(attributes[_TRANSPORT], depth + 1)
        for name, label in _SHOWN.items():
            if name in attributes:
                yield f"{label}={self._values.show(attributes[name], _LONGEST)}"
        for name, label in _COUNTED.items():
            if name in attributes:
                yield f"{label}={self._values.length(attributes[name]) or 0}"

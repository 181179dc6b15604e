"""Finds which asyncio tasks hold a Lock or a Semaphore: those in an ``async with`` block of it.

Neither knows who has acquired it, but a suspended frame keeps the ``__aexit__`` on its stack as
long as the block runs, and while it is entered. Who has acquired one otherwise is unknown.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gencore.analysis.asynchronous.coroutines import CoroutineReader
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python

__all__ = ["find_holders"]

_EXIT: Final = "_ContextManagerMixin.__aexit__"
_LONGEST_NAME: Final = 100
_MOST_HOLDERS: Final = 16
"""Of a semaphore: each that waits for it would wait for all of more."""


def find_holders(
    python: Python,
    values: Values,
    coroutines: CoroutineReader,
    waiting: Mapping[int, int],
    frames: Mapping[int, Iterable[int]],
) -> dict[int, tuple[int, ...]]:
    """Return the tasks in blocks of each lock, as far as it is known.

    *waiting* has the lock that a task waits for, *frames* the suspended frames of each task. Of a
    semaphore that more than 16 tasks hold, there are none.
    """
    reader = _Blocks(python, values, coroutines)
    inside: dict[int, dict[int, None]] = defaultdict(dict)
    locks = set(waiting.values())
    for task, its_frames in frames.items() if locks else ():
        for frame in its_frames:
            for lock in reader.entered(frame):
                if lock in locks and waiting.get(task) != lock:
                    inside[lock][task] = None
    return {lock: tuple(tasks) for lock, tasks in inside.items() if len(tasks) <= _MOST_HOLDERS}


class _Blocks:
    def __init__(self, python: Python, values: Values, coroutines: CoroutineReader) -> None:
        self._memory, self._layout = python.memory, python.layout
        self._values, self._coroutines = values, coroutines

    def entered(self, frame: int) -> Iterator[int]:
        """Yield the objects of asyncio in whose ``async with`` blocks a suspended frame is."""
        try:
            stack = self._coroutines.stack(frame)
        except AbsentMemory:
            return
        for value, following in zip(stack, (*stack[1:], 0), strict=False):
            try:
                lock = self._exited_by(value, following)
            except AbsentMemory:
                continue
            if lock:
                yield lock

    def _exited_by(self, value: int, following: int) -> int:
        """Return what a bound method is of, or since 3.14 the function in front of its object."""
        kind = self._values.type_name(value) if value else ""
        if kind == "function":
            return following if self._is_exit(value) else 0
        if kind != "method":
            return 0
        function = self._memory.word(value + self._layout.function_of_method)
        bound = self._memory.word(value + self._layout.self_of_method)
        return bound if self._is_exit(function) else 0

    def _is_exit(self, function: int) -> bool:
        name = self._memory.word(function + self._layout.qualified_name_of_function)
        return self._values.text(name, _LONGEST_NAME) == _EXIT

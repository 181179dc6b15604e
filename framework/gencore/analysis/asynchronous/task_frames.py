"""Finds the frames of the asyncio tasks of a dumped process that have not ended."""

from collections.abc import Iterator
from contextlib import suppress

from gencore.analysis.asynchronous.coroutines import CoroutineReader
from gencore.analysis.asynchronous.futures import FutureReader
from gencore.analysis.asynchronous.task_lists import find_tasks
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python

__all__ = ["frames_of_tasks"]


def frames_of_tasks(python: Python) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the address of each task, and those of its frames, outermost first.

    Of a running one they are as far as they are known from its coroutine.
    """
    values = Values(python)
    futures, coroutines = FutureReader(python, values), CoroutineReader(python, values)
    addresses, _ = find_tasks(python, values, futures)
    for address in addresses:
        with suppress(AbsentMemory):
            future = futures.read(address)
            if future is not None and future.coroutine and future.state == "pending":
                yield address, coroutines.chain(future.coroutine).frames

"""Finds the objects of some types, and of all that inherit from these, anywhere in memory."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from gencore.analysis.inspection.objects import TYPE_AT
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python
from gencore.errors import IntegrityError

__all__ = ["find_instances"]

_REFERRED_AT: Final = 16
"""In a ``PyWeakReference``."""
_MOST_TYPES: Final = 1 << 10
_MOST_FOUND: Final = 1 << 20


def find_instances(python: Python, values: Values, bases: Iterable[int]) -> Iterator[int]:
    """Yield the addresses of what looks like an object of one of the *bases*, in order.

    Memory that was one, or that has the address of a type for another reason, looks so too: the
    caller knows more of what an object must have. Raises `IntegrityError` without numpy, of the
    extra ``analysis``, unless there is no base.
    """
    types = set(_with_subclasses(python, values, bases))
    if not types:
        return
    try:  # here: most processes have nothing to search for, and then it is not needed
        import numpy as np
    except ImportError as error:
        remedy = "pip install 'gencore[analysis]'"
        raise IntegrityError("numpy, which finds some, is not installed", remedy=remedy) from error
    from gencore.analysis.interpreter.words import Words

    wanted = np.array(sorted(types), np.uint64)
    found = 0
    for run in Words(python.memory).writable():
        for index in np.flatnonzero(np.isin(run.words, wanted)):
            found += 1
            if found > _MOST_FOUND:
                return
            yield run.start + 8 * int(index) - TYPE_AT


def _with_subclasses(python: Python, values: Values, bases: Iterable[int]) -> Iterator[int]:
    """Yield types and all that inherit from them."""
    todo = list(bases)
    seen = set(todo)
    while todo:
        kind = todo.pop()
        yield kind
        with suppress(AbsentMemory):
            subclasses = python.memory.word(kind + python.layout.subclasses_of_type)
            for _, reference in values.items(subclasses, _MOST_TYPES) if subclasses else ():
                inner = python.memory.word(reference + _REFERRED_AT)
                if inner not in seen and len(seen) < _MOST_TYPES:
                    seen.add(inner)
                    todo.append(inner)

"""Computes ``sys.getsizeof`` of many objects of one type at once.

That is what ``__sizeof__`` of the type returns, and the parts in front of the object. A type has
the formula of its nearest base with a layout of its own.
"""

import numpy as np

from gencore.analysis.heap.formulas import (
    FORMULAS,
    Formula,
    Kind,
    Numbers,
    are_compact,
    text,
    with_items,
)
from gencore.analysis.heap.type_objects import TypeTable, bases_of
from gencore.analysis.interpreter.python import Python
from gencore.analysis.interpreter.words import Things, Words

__all__ = ["Sizes"]


class Sizes:
    """The sizes of the objects of a dumped Python."""

    def __init__(self, python: Python, words: Words, types: TypeTable, names: list[str]) -> None:
        self._python, self._words, self._types, self._names = python, words, types, names
        self._formulas: dict[int, Formula] = {}

    def of(self, row: int, things: Things) -> Numbers:
        """Return the sizes of objects of the type in a row, in bytes."""
        kind = self._kind(row)
        sizes = self._formula(row)(kind, things) + self._types.preheaders[row]
        return np.where((sizes >= 0) & (sizes <= self._words.size), sizes, kind.basic_size)

    def of_each(self, row: int) -> int | None:
        """Return the size of each object of the type in a row; None if they differ."""
        if self._formula(row) is not with_items or self._types.item_sizes[row]:
            return None
        return int(self._types.basic_sizes[row] + self._types.preheaders[row])

    def of_block(self, row: int, things: Things) -> Numbers:
        """Return the bytes that objects take themselves, without buffers of their own."""
        kind = self._kind(row)
        if self._types.are_metatypes[row]:
            members: Numbers = with_items(kind, things) + self._types.preheaders[row]
            return members
        whole = np.full(len(things), kind.basic_size + self._types.preheaders[row])
        if self._formula(row) is text:
            return np.where(are_compact(things), self.of(row, things), whole)
        return self.of(row, things) if kind.item_size else whole

    def _kind(self, row: int) -> Kind:
        basic, item = (int(c[row]) for c in (self._types.basic_sizes, self._types.item_sizes))
        return Kind(self._words, self._python, basic, item)

    def _formula(self, row: int) -> Formula:
        if row not in self._formulas:
            bases = [self._names[base] for base in bases_of(self._types, row)]
            found = (FORMULAS[name] for name in bases if name in FORMULAS)
            self._formulas[row] = next(found, with_items)
        return self._formulas[row]

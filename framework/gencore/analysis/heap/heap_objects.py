"""Every object that was found in a dumped process, and what is known of their types."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis import _graphs
from gencore.analysis.heap.sizes import Sizes
from gencore.analysis.heap.type_objects import TypeTable
from gencore.analysis.interpreter.words import Addresses, Things, Words

__all__ = ["Found", "HeapObjects", "of_each_type"]

Numbers = NDArray[np.int64]
_Number = TypeVar("_Number", np.int32, np.int64, np.uint64)
_Known = tuple[Words, TypeTable, list[str], Sizes]

_PIECE: Final = 1 << 16
"""Objects that are looked at together, so that they stay in the processor's cache."""


@attrs.frozen(eq=False)
class Found:
    """Objects that are found together."""

    things: Things
    rows: Numbers
    """Of their types."""
    sizes: Numbers | None = None
    """None if they were not needed yet."""


@attrs.frozen(eq=False)
class HeapObjects:
    """Every object that was found, and what is known of the types."""

    words: Words
    types: TypeTable
    names: list[str]
    """Of the types, qualified."""
    sizes_by_type: Sizes
    addresses: Addresses
    rows: NDArray[np.int32]
    """The row in `types` of each object's type."""
    known_sizes: NDArray[Any] | None

    @classmethod
    def of(cls, found: Iterable[Found], room: int, *known: *_Known) -> "HeapObjects":
        """Return what was found together; there is room for as many, more need a copy."""
        addresses, rows = _Column(np.uint64, room), _Column(np.int32, room)
        sizes = _Sizes(np.uint32, room)
        for part in found:
            addresses.append(part.things.addresses)
            rows.append(part.rows)
            if part.sizes is not None:
                sizes.append(part.sizes)
        complete = len(sizes.whole()) == len(addresses.whole())
        known_sizes = sizes.whole() if complete else None
        return cls(*known, addresses.whole(), rows.whole(), known_sizes)

    def things(self, which: NDArray[np.int64] | NDArray[np.int32]) -> Things:
        """Return some of them, by their numbers, to read what they have."""
        return self.words.things(self.addresses[which])[0]

    def sizes(self) -> NDArray[Any]:
        """Return the bytes of each, as ``sys.getsizeof`` has it."""
        if self.known_sizes is not None:
            return self.known_sizes
        sizes = np.empty(len(self.rows), np.int64)
        for row, numbers in self.by_type():
            sizes[numbers] = self.sizes_by_type.of(row, self.things(numbers))
        return sizes

    def by_type(self) -> Iterator[tuple[int, NDArray[np.int32]]]:
        """Yield each row that has objects, and the numbers of these."""
        return of_each_type(self.rows, len(self.types))


def of_each_type(
    rows: NDArray[np.int32] | Numbers, types: int
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Yield each row of a type that is among those of some objects, and where it is."""
    rows = rows.astype(np.int32, copy=False)
    borders, order = np.zeros(types + 1, np.uint32), np.empty_like(rows)
    _graphs.count(rows, borders)
    np.cumsum(borders, dtype=np.uint32, out=borders)
    for first in reversed(range(0, len(rows), _PIECE)):
        piece = rows[first : first + _PIECE]
        numbers = np.arange(first, first + len(piece), dtype=np.int32)
        _graphs.distribute(piece, numbers, borders, order)
    for row in np.flatnonzero(np.diff(borders)):
        yield int(row), order[borders[row] : borders[row + 1]]


class _Column(Generic[_Number]):
    """An array to which more is appended, so large that a copy of it would be too much."""

    def __init__(self, kind: type[_Number], room: int) -> None:
        self._values: NDArray[_Number] = np.empty(room, kind)
        self._count = 0

    def append(self, values: NDArray[Any]) -> None:
        """Append values, of which there are seldom more than there is room for."""
        end = self._count + len(values)
        if end > len(self._values):
            self._values.resize(end, refcheck=False)
        self._values[self._count : end] = values
        self._count = end

    def whole(self) -> NDArray[_Number]:
        """Return all; nothing may be appended then."""
        values: NDArray[_Number] = self._values[: self._count]
        return values


class _Sizes(_Column[Any]):
    """Bytes of objects, of which few are so large that their number needs more than 32 bits."""

    def append(self, values: NDArray[Any]) -> None:
        """Append sizes; all of them get more bits if one needs them."""
        if values.max(initial=0) > np.iinfo(self._values.dtype).max:
            wider = np.empty(len(self._values), np.int64)
            wider[: self._count] = self.whole()
            self._values = wider
        super().append(values)

"""Every object that was found in a dumped process, and what is known of their types."""

from collections.abc import Iterator

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis.heap.sizes import Sizes
from gencore.analysis.heap.type_objects import TypeTable
from gencore.analysis.interpreter.words import Things, Words

__all__ = ["HeapObjects", "of_each_type"]

Numbers = NDArray[np.int32]


@attrs.frozen(eq=False)
class HeapObjects:
    """Every object that was found, and what is known of the types."""

    words: Words
    types: TypeTable
    names: list[str]
    """Of the types, qualified."""
    sizes: Sizes
    things: Things
    rows: NDArray[np.int32]
    """The row in `types` of each object's type."""

    def by_type(self) -> Iterator[tuple[int, Numbers]]:
        """Yield each row that has objects, and the numbers of these."""
        return of_each_type(self.rows)


def of_each_type(rows: NDArray[np.int32] | NDArray[np.int64]) -> Iterator[tuple[int, Numbers]]:
    """Yield each row of a type that is among those of some objects, and where it is."""
    order = np.argsort(rows.astype(np.uint16), kind="stable").astype(np.int32)
    ends = np.cumsum(np.bincount(rows))
    for row in np.flatnonzero(np.diff(ends, prepend=0)):
        yield int(row), order[ends[row - 1] if row else 0 : ends[row]]

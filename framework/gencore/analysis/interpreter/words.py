"""Reads many words of a dumped process at once, as numpy arrays.

A word is an unsigned 64-bit number at an address that is divisible by eight.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis import _blocks
from gencore.analysis.interpreter.memory import Memory, Piece

__all__ = ["Addresses", "Mask", "Run", "Things", "Words"]

Addresses = NDArray[np.uint64]
Mask = NDArray[np.bool_]

_SIZE: Final = 8
_PAGE: Final = 1 << 12
_PAGES: Final = 1 << 18
"""In a region of 1 GiB."""
_REGIONS: Final = 1 << 17
"""That a process can have."""
_FEW_REGIONS: Final = 32
"""That are in the table of any core, which has 1 MiB for each; and as many as that has MiB."""


@attrs.frozen(eq=False)
class Run:
    """Words that lie one behind the other, from the address `start` on, without a copy."""

    start: int
    words: Addresses
    path: str | None
    """The file that was mapped there; None for anonymous memory."""

    @property
    def end(self) -> int:
        """The address behind the last word."""
        return self.start + len(self.words) * _SIZE

    def part(self, start: int, end: int) -> "Run":
        """Return the words between two addresses that are divisible by eight."""
        first, last = (start - self.start) // _SIZE, (end - self.start) // _SIZE
        return Run(start, self.words[first:last], self.path)


@attrs.frozen(eq=False)
class Things:
    """Objects, or blocks, whose words are read often: where they are was looked up once."""

    addresses: Addresses
    places: NDArray[np.int64]
    """Which word of the core is at each address; others follow in the core as in memory."""
    core: Addresses

    def __len__(self) -> int:
        return len(self.addresses)

    def word(self, offset: int = 0) -> Addresses:
        """Return the words at an offset from each; anything of what is not that long."""
        return self.core.take(self.places + (offset >> 3), mode="clip")

    def number(self, offset: int) -> NDArray[np.int64]:
        """Return the same, with a sign."""
        return self.word(offset).view(np.int64)

    def chosen(self, which: Mask | NDArray[np.int64] | NDArray[np.int32]) -> "Things":
        """Return some of them."""
        return Things(self.addresses[which], self.places[which], self.core)

    def moved(self, offsets: int | NDArray[np.int64]) -> "Things":
        """Return what is at other addresses: *offsets* are divisible by eight."""
        moved = np.asarray(offsets, np.int64)
        return Things(
            self.addresses + moved.view(np.uint64), self.places + (moved >> 3), self.core
        )


class Words:
    """The words of a memory."""

    def __init__(self, memory: Memory) -> None:
        """Prepare the pieces; only the core has writable ones."""
        self._pieces = memory.pieces
        self._runs = [_run_of(piece) for piece in self._pieces]
        self._starts = np.array([run.start for run in self._runs], np.uint64)
        self._sizes = np.array([len(run.words) * _SIZE for run in self._runs], np.uint64)
        self.size = int(self._sizes.sum())
        """Bytes of all of it."""
        largest = max(self._pieces, key=lambda p: (p.writable, p.end - p.start), default=None)
        source, skew = (largest.source, _skew(largest)) if largest else (memoryview(b""), 0)
        self.core = _as_words(source[skew:])
        """The file that most of it is in."""
        self._table = _PageTable(
            (p for p in self._pieces if p.source is source), skew, len(source)
        )

    def at(self, addresses: Addresses) -> tuple[Addresses, Mask]:
        """Return the words at *addresses*, 0 where there is none, and where there is one."""
        places = self._table.places_of(self.core, addresses)
        there = places >= 0
        if there.all():
            return self.core.take(places), there
        values = np.zeros(len(addresses), np.uint64)
        values[there] = self.core.take(places[there])
        rest = np.flatnonzero(~there)
        values[rest], there[rest] = self._anywhere(addresses[rest])
        return values, there

    def things(self, addresses: Addresses) -> tuple[Things, Mask]:
        """Return those of some addresses that the core itself has, and which these are."""
        places = self._table.places_of(self.core, addresses)
        there = places >= 0
        return Things(addresses[there], places[there], self.core), there

    def _anywhere(self, addresses: Addresses) -> tuple[Addresses, Mask]:
        """Return the same of memory that is not in the table."""
        values, there = np.zeros(len(addresses), np.uint64), np.zeros(len(addresses), np.bool_)
        if not len(self._runs):
            return values, there
        piece = np.maximum(np.searchsorted(self._starts, addresses, "right") - 1, 0)
        distance = addresses - self._starts[piece]  # of what lies before it, more than any has
        there = (distance % np.uint64(_SIZE) == 0) & (distance < self._sizes[piece])
        for number in np.flatnonzero(np.bincount(piece[there])):
            here = there & (piece == number)
            words = self._runs[number].words
            values[here] = words.take((distance[here] >> np.uint64(3)).view(np.int64))
        return values, there

    def writable(self) -> Iterator[Run]:
        """Yield what the process could write, in order of address."""
        pairs = zip(self._pieces, self._runs, strict=True)
        return (run for piece, run in pairs if piece.writable and len(run.words))


def _as_words(source: memoryview) -> Addresses:
    return np.frombuffer(source, np.uint64, len(source) // _SIZE)


def _run_of(piece: Piece) -> Run:
    start = -(-piece.start // _SIZE) * _SIZE
    first = start - piece.start + piece.offset
    count = max(0, piece.end - start) // _SIZE
    return Run(start, _as_words(piece.source[first : first + count * _SIZE]), piece.path)


def _skew(piece: Piece) -> int:
    """Return how far its pages are off those of its file: gcore puts them behind the notes."""
    return (piece.offset - piece.start) % _PAGE


class _PageTable:
    """Where in one file each page of memory lies: two levels, as the processor has them.

    All pages are off those of the file by the same *skew*. Of a hostile core's pieces, scattered
    over all addresses, not all are in it.
    """

    def __init__(self, pieces: Iterable[Piece], skew: int, size: int) -> None:
        self._regions = np.zeros(_REGIONS + 1, np.int32)
        tables = [np.full(_PAGES, -1, np.int32)]
        most = _FEW_REGIONS + (size >> 20)
        for piece in pieces:
            start = -(-piece.start // _PAGE)
            end = piece.end // _PAGE
            if _skew(piece) != skew:
                continue
            number = start + (piece.offset - piece.start) // _PAGE
            while start < min(end, _REGIONS * _PAGES) and len(tables) <= most:
                region, first = divmod(start, _PAGES)
                if not self._regions[region]:
                    self._regions[region] = len(tables)
                    tables.append(np.full(_PAGES, -1, np.int32))
                count = min(end - start, _PAGES - first)
                table = tables[self._regions[region]]
                table[first : first + count] = np.arange(number, number + count)
                start, number = start + count, number + count
        self._tables = np.concatenate(tables)

    def places_of(self, core: Addresses, addresses: Addresses) -> NDArray[np.int64]:
        """Return which word of the core is at each address, or -1."""
        places = np.empty(len(addresses), np.int64)
        addresses = np.ascontiguousarray(addresses)
        _blocks.places_of(core, addresses, self._regions, self._tables, places)
        return places

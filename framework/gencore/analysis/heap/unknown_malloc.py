"""Finds Python objects in the memory of a malloc whose layout is unknown, such as jemalloc's.

Whatever has the address of a type where objects have it may be an object, or may have been one:
memory that is free keeps what it had. A free object has no references, but two things look alive.
What begins so by chance has nothing that refers to it. And a str, bytes or tuple that was moved
when it was resized leaves a copy with a reference; the malloc has the address of that among those
that are free, so of these types something that Python knows must refer to it: an object, a frame,
a pool, static data. What only local variables of C hold is missed, if it could be such a copy.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from gencore.analysis.heap.heap_objects import HeapObjects, of_each_type
from gencore.analysis.heap.object_index import ObjectIndex
from gencore.analysis.heap.parts import TypeLayouts
from gencore.analysis.heap.pools import POOL_SIZE, Pools
from gencore.analysis.heap.recognition import Recognition
from gencore.analysis.heap.references import find_references
from gencore.analysis.interpreter.elf_image import end_of_image
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python
from gencore.analysis.interpreter.words import Addresses, Mask, Run, Things, Words

__all__ = ["Allocated", "UnknownMalloc"]

Numbers = NDArray[np.int64]

_ALIGNMENT: Final = 16
"""Of what every malloc returns, if it is as large as an object with what is in front of it."""
_PIECE: Final = 1 << 17
"""Words that are looked at together."""
_RESIZED: Final = {"str", "bytes", "tuple"}
"""Types whose objects CPython resizes, and moves if it must."""
_HASH_AT: Final = 24
"""In a str and in bytes."""
_NO_HASH: Final = np.uint64((1 << 64) - 1)
"""What is hashed was given away, and is not resized any more."""
_COUNT: Final = np.uint64(0xFFFFFFFF)
_MOST_FRAMES, _MOST_SLOTS = 1 << 18, 1 << 12
"""Frames, and words of each, that are looked at."""


@attrs.frozen(eq=False)
class Allocated:
    """Objects, the rows of their types, and the bytes that each has in its block."""

    things: Things
    rows: Numbers
    sizes: Numbers

    def chosen(self, which: Mask | Numbers) -> "Allocated":
        """Return some of them."""
        return Allocated(self.things.chosen(which), self.rows[which], self.sizes[which])


class UnknownMalloc:
    """Looks for objects in all anonymous memory that is in no pool."""

    def __init__(
        self, python: Python, known: HeapObjects, pools: Pools, recognition: Recognition
    ) -> None:
        """Take over what is known of the types, and the objects in pools."""
        self._python, self._known, self._pools = python, known, pools
        self._recognition = recognition
        self._resized = np.array([name in _RESIZED for name in known.names], np.bool_)

    def find(self, runs: Iterable[Run], smallest: int) -> Allocated:
        """Return the objects that have more than *smallest* bytes, and those that once had."""
        found = self._candidates([run for run in runs if run.path is None])
        found = found.chosen((found.sizes > smallest) | self._resized[found.rows])
        listed = self._recognition.listed(found.things, found.rows)
        found = found.chosen(listed | self._are_referred_to(found.things.addresses))
        found = self._without_overlaps(found)
        copies = np.flatnonzero(self._may_be_copies(found))
        alive = np.ones(len(found.rows), np.bool_)
        alive[copies] = self._are_held(found, copies)
        return found.chosen(alive)

    def _candidates(self, runs: list[Run]) -> Allocated:
        """Return what has a type, references, and memory for as many bytes as it needs."""
        known = self._known
        hits = [hit for run in runs for hit in known.types.within(run)]
        addresses = np.concatenate([np.zeros(0, np.uint64), *(places for places, _ in hits)])
        rows = np.concatenate([np.zeros(0, np.int64), *(rows for _, rows in hits)])
        addresses -= np.uint64(8)
        aligned = addresses % np.uint64(_ALIGNMENT) == 0
        things, there = known.words.things(addresses[aligned])
        rows = rows[aligned][there]
        alive = self._recognition.alive(things, rows) & ~self._are_static(things, rows)
        things, rows = things.chosen(alive), rows[alive]
        found = Allocated(things, rows, self._sizes(things, rows))
        return found.chosen(self._have_room(found))

    def _are_static(self, things: Things, rows: Numbers) -> Mask:
        """Whether they are types that no malloc has: in memory that began as zeros."""
        types = self._known.types
        static = types.are_metatypes[rows]
        own = types.find(things.addresses[static])
        static[static] = (own < 0) | ~types.are_heap_types[own]
        return static

    def _sizes(self, things: Things, rows: Numbers) -> Numbers:
        sizes = np.zeros(len(rows), np.int64)
        for row, of_type in of_each_type(rows, len(self._known.types)):
            sizes[of_type] = self._known.sizes_by_type.of_block(row, things.chosen(of_type))
        return sizes

    def _have_room(self, found: Allocated) -> Mask:
        last = self._begins(found) + (found.sizes.view(np.uint64) - np.uint64(1))
        _, there = self._known.words.at(last & ~np.uint64(7))
        there &= (found.sizes > 0) & (found.sizes <= self._known.words.size)
        have_room: Mask = there & ~self._pools.have(last)
        return have_room

    def _begins(self, found: Allocated) -> Addresses:
        preheaders = self._known.types.preheaders[found.rows]
        begins: Addresses = found.things.addresses - preheaders.view(np.uint64)
        return begins

    def _are_referred_to(self, addresses: Addresses) -> Mask:
        """Return which addresses any word has."""
        index = ObjectIndex(addresses)
        return _are_in(index, len(addresses), _pieces(self._known.words.writable()))

    def _without_overlaps(self, found: Allocated) -> Allocated:
        """Return them without those that overlap one in the collector's list, or one before."""
        begins = self._begins(found)
        order = np.argsort(begins, kind="stable")
        found, begins = found.chosen(order), begins[order]
        ends = begins + found.sizes.view(np.uint64)
        listed = self._recognition.listed(found.things, found.rows)
        before = np.searchsorted(begins[listed], begins, "left")
        clear = before == np.searchsorted(begins[listed], ends, "left")  # none begins within
        last = np.concatenate([[np.uint64(0)], np.maximum.accumulate(ends[listed])])
        kept = listed | clear & (last[before] <= begins)
        found, begins, ends = found.chosen(kept), begins[kept], ends[kept]
        last = np.concatenate([[np.uint64(0)], np.maximum.accumulate(ends)])[:-1]
        return found.chosen(begins >= last)

    def _may_be_copies(self, found: Allocated) -> Mask:
        """Return which objects could be what is left of one that was moved.

        It has one reference, and was in no list; a str and bytes were not hashed yet.
        """
        things = found.things
        copies: Mask = self._resized[found.rows] & (things.word() & _COUNT == 1)
        copies &= ~self._recognition.listed(things, found.rows)
        is_tuple = self._known.types.has_gc[found.rows]
        copies &= is_tuple | (things.word(_HASH_AT) == _NO_HASH)
        return copies

    def _are_held(self, found: Allocated, copies: Numbers) -> Mask:
        """Return to which of some objects something refers that Python knows."""
        if not len(copies):
            return np.zeros(0, np.bool_)
        index = ObjectIndex(found.things.addresses[copies])
        held = _are_in(index, len(copies), self._known_words())
        layouts = TypeLayouts(
            self._python, self._known.words, self._known.types, self._known.names
        )
        held[find_references(self._all_objects(found), index, layouts).targets] = True
        return held

    def _all_objects(self, found: Allocated) -> HeapObjects:
        in_pools = self._known
        addresses = np.concatenate([in_pools.addresses, found.things.addresses])
        rows = np.concatenate([in_pools.rows, found.rows.astype(np.int32)])
        return attrs.evolve(in_pools, addresses=addresses, rows=rows, known_sizes=None)

    def _known_words(self) -> Iterator[Addresses]:
        """Yield the words of static data, of pools, and of frames."""
        yield from _pieces(self._static_data())
        for batch in self._pools.batches():
            yield _words_of_pools(self._known.words, batch)
        python, left = self._python, self._known.words.size // 8
        frames = (frame for state in python.threads() for frame in python.frames(state))
        for frame in islice(frames, _MOST_FRAMES):
            with suppress(AbsentMemory):
                words = self._words_of_frame(frame)
                yield words[:left]
                left = max(0, left - len(words))

    def _static_data(self) -> Iterator[Run]:
        """Yield the writable memory of files, and what is behind it and began as zeros."""
        memory, before = self._python.memory, Run(0, np.zeros(0, np.uint64), None)
        begins = {piece.path: piece.start for piece in reversed(memory.pieces)}
        for run in self._known.words.writable():
            if run.path is not None:
                yield run
            elif before.path is not None and before.end == run.start:
                end = end_of_image(memory, begins[before.path]) or 0
                yield run.part(run.start, min(run.end, max(run.start, end & ~7)))
            before = run

    def _words_of_frame(self, frame: int) -> Addresses:
        """Return its variables, and what may be on its stack. Raises `AbsentMemory`."""
        python, layout = self._python, self._python.layout
        code = python.code_of(frame)
        if code is None:
            return np.zeros(0, np.uint64)
        lengths = (layout.slots_of_code, layout.stack_of_code)
        count = sum(python.memory.number(code + at, 4) for at in lengths)
        begin = frame + layout.locals_of_frame
        count = min(max(0, count), _MOST_SLOTS)
        return np.array(python.references(begin, count), np.uint64)


def _pieces(runs: Iterable[Run]) -> Iterator[Addresses]:
    for run in runs:
        for first in range(0, len(run.words), _PIECE):
            yield run.words[first : first + _PIECE]


def _are_in(index: ObjectIndex, count: int, pieces: Iterable[Addresses]) -> Mask:
    """Return the addresses of which indexed objects are among some words."""
    there = np.zeros(count, np.bool_)
    for piece in pieces:
        there[index.within(piece)[1]] = True
    return there


def _words_of_pools(words: Words, pools: Pools) -> Addresses:
    heads, _ = words.things(pools.addresses)
    return heads.core.take(heads.places[:, None] + np.arange(POOL_SIZE // 8), mode="clip").ravel()

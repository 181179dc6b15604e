"""Finds the Python in a dumped process: its version, its layout, its interpreters and threads."""

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

import attrs

from gencore.analysis.interpreter.elf_image import find_symbol
from gencore.analysis.interpreter.layouts import (
    LAYOUTS,
    SAID,
    SAID_SIZE,
    Layout,
    take_what_is_said,
)
from gencore.analysis.interpreter.memory import AbsentMemory, Memory, Piece
from gencore.analysis.interpreter.running_threads import runner_of, stack_pointers
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

__all__ = ["Python", "ThreadState", "find_python"]

_MAJOR: Final = 3
_COOKIE: Final = b"xdebugpy"
"""What ``_PyRuntime`` begins with from 3.13 on."""
_MOST: Final = 1 << 16
"""Interpreters, and threads of each: a list that is broken may be a circle."""
_TAG: Final = 7
"""Bits of a reference from a frame that are no part of the address, from 3.14 on."""
_OF_C: Final = 3
"""``FRAME_OWNED_BY_CSTACK``, or since 3.14 ``_BY_INTERPRETER``; no function's, as all above."""
_GIL_SIZE: Final = 256
"""More than any version's ``struct _gil_runtime_state``."""
_VERSION_AT, _FREE_THREADED_AT = 8, 16
_LIKELY: Final = re.compile(r"libpython|/python[\d.]*[a-z]?$")


@attrs.frozen
class ThreadState:
    """One thread that an interpreter knows."""

    address: int
    interpreter: int
    tid: int


@attrs.frozen(eq=False)
class Python:
    """The Python of a dumped process."""

    memory: Memory
    version: tuple[int, int, int]
    layout: Layout
    runtime: int
    """The address of ``_PyRuntime``."""
    stack_pointers: Mapping[int, int] = attrs.field(factory=dict)
    """Of each thread by tid, if they are needed to know who runs an interpreter."""

    @property
    def minor(self) -> int:
        """The minor version of Python 3, by which layouts differ."""
        return self.version[1]

    def interpreters(self) -> Iterator[int]:
        """Yield the address of each interpreter, as far as the list can be followed."""
        head, following = self.layout.first_interpreter, self.layout.next_interpreter
        yield from self._listed(self.runtime + head, following)

    def interpreter_id(self, interpreter: int) -> int | None:
        """Return the ID of an interpreter, 0 of the main one; None if it is missing."""
        with suppress(AbsentMemory):
            return self.memory.number(interpreter + self.layout.id_of_interpreter, 8)
        return None

    def is_collecting(self, interpreter: int) -> bool:
        """Return whether a garbage collection of an interpreter is going on."""
        with suppress(AbsentMemory):
            at = interpreter + self.layout.collecting_of_interpreter
            return self.memory.number(at, 4) == 1
        return False

    def threads(self) -> Iterator[ThreadState]:
        """Yield the threads of every interpreter, as far as the lists can be followed."""
        for interpreter in self.interpreters():
            may_be_others = self.stack_pointers and self.interpreter_id(interpreter)
            first = interpreter + self.layout.first_thread
            for state in self._listed(first, self.layout.next_thread):
                try:
                    owner = self.memory.word(state + self.layout.interpreter_of_thread)
                    tid = self.memory.word(state + self.layout.native_id)
                except AbsentMemory:
                    break
                if owner != interpreter:
                    break
                runner = self._runner(state) if may_be_others else None
                yield ThreadState(state, interpreter, runner or tid)

    def _runner(self, state: int) -> int | None:
        """Return the tid of the thread that a thread state's calls are on the stack of."""
        with suppress(AbsentMemory):
            record = self.memory.word(state + self.layout.frame_of_thread)
            return runner_of(self.memory, self.stack_pointers, record)
        return None

    def count_threads(self) -> int:
        """Return how many threads `threads` has. Raises `AbsentMemory` if a list breaks off."""
        layout = self.layout
        head = self.runtime + layout.first_interpreter
        return sum(
            1
            for interpreter in self._followed(head, layout.next_interpreter)
            for _ in self._followed(interpreter + layout.first_thread, layout.next_thread)
        )

    def frames(self, state: ThreadState) -> Iterator[int]:
        """Yield the address of each frame of a thread, innermost first, as far as they lead."""
        at = state.address + self.layout.frame_of_thread
        if self.layout.frame_of_c_frame is not None:
            try:
                at = self.memory.word(at) + self.layout.frame_of_c_frame
            except AbsentMemory:
                return
        yield from self._listed(at, self.layout.previous_frame)

    def reference(self, at: int) -> int:
        """Return the address that a frame has at *at*. Raises `AbsentMemory`."""
        return self.memory.word(at) & ~_TAG

    def references(self, begin: int, count: int) -> tuple[int, ...]:
        """Return *count* of them, one behind the other. Raises `AbsentMemory`."""
        words = struct.unpack(f"<{count}Q", self.memory.read(begin, count * 8))
        return tuple(word & ~_TAG for word in words)

    def code_of(self, frame: int) -> int | None:
        """Return the address of what a frame runs; None if that is no Python function.

        Raises `AbsentMemory`.
        """
        if self.memory.number(frame + self.layout.owner_of_frame, 1) >= _OF_C:
            return None
        return self.reference(frame + self.layout.code_of_frame)

    def gil_of(self, interpreter: int) -> int:
        """Return the address of an interpreter's GIL. Raises `AbsentMemory`."""
        if self.layout.gil is None:
            return self.runtime
        return self.memory.word(interpreter + self.layout.gil)

    def is_of_gil(self, interpreter: int, address: int) -> bool:
        """Whether a word of memory is part of an interpreter's GIL."""
        try:
            begin = self.gil_of(interpreter) + self.layout.gil_holder
        except AbsentMemory:
            return False
        return begin <= address < begin + _GIL_SIZE

    def gil_holder(self, interpreter: int) -> int | None:
        """Return the address of the thread state that holds an interpreter's GIL, if any does."""
        try:
            gil = self.gil_of(interpreter)
            locked = self.memory.number(gil + self.layout.gil_locked, 4)
            holder = self.memory.word(gil + self.layout.gil_holder)
        except AbsentMemory:
            return None
        return holder if locked == 1 and holder else None

    def _listed(self, first: int, following: int) -> Iterator[int]:
        with suppress(AbsentMemory):
            yield from self._followed(first, following)

    def _followed(self, first: int, following: int) -> Iterator[int]:
        at = first
        seen: set[int] = set()
        while len(seen) < _MOST:
            found = self.memory.word(at)
            if not found or found in seen:
                return
            seen.add(found)
            yield found
            at = found + following


def find_python(memory: Memory, core: CoreFile) -> Python:
    """Return the Python of a dumped process.

    Raises `IntegrityError` if none is found, or if its version or build is unsupported.
    """
    runtime, version = _exported(memory, core) or _by_cookie(memory) or (0, None)
    if version is None:
        raise IntegrityError("no Python found in the core: no file in it exports _PyRuntime")
    major, minor = version >> 24, version >> 16 & 0xFF
    if major != _MAJOR or minor not in LAYOUTS:
        raise IntegrityError(f"unsupported: Python {major}.{minor}")
    layout = LAYOUTS[minor]
    if minor in SAID and (said := _said(memory, runtime)):
        if said[_FREE_THREADED_AT]:
            raise IntegrityError("unsupported: free-threaded Python")
        layout = take_what_is_said(minor, said)
    pointers = stack_pointers(core) if layout.frame_of_c_frame is not None else {}
    return Python(memory, (major, minor, version >> 8 & 0xFF), layout, runtime, pointers)


def _exported(memory: Memory, core: CoreFile) -> tuple[int, int] | None:
    """Return the addresses of ``_PyRuntime`` and the version, by their symbols."""
    for base in _loaded_files(core):
        runtime = find_symbol(memory, base, "_PyRuntime")
        version = find_symbol(memory, base, "Py_Version")
        if runtime and version:
            return runtime, memory.word(version)
    return None


def _loaded_files(core: CoreFile) -> list[int]:
    """Return where each mapped file begins, first those that are called as Python is."""
    rows = {row.path: row.start for row in reversed(core.mapped_ranges) if not row.file_offset}
    return [rows[path] for path in sorted(rows, key=lambda path: not _LIKELY.search(path))]


def _by_cookie(memory: Memory) -> tuple[int, int] | None:
    """Return the same for a program that exports neither."""
    for piece in _data_of(memory.pieces):
        at = 0
        data = bytes(piece.source[piece.offset : piece.offset + piece.end - piece.start])
        while (at := data.find(_COOKIE, at)) >= 0:
            runtime = piece.start + at
            try:
                version = memory.word(runtime + _VERSION_AT)
            except AbsentMemory:
                break
            if version >> 24 == _MAJOR:
                return runtime, version
            at += len(_COOKIE)
    return None


def _data_of(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield the initialised data of executable and libraries."""
    return (piece for piece in pieces if piece.writable and piece.path)


def _said(memory: Memory, runtime: int) -> bytes | None:
    try:
        said = memory.read(runtime, SAID_SIZE)
    except AbsentMemory:
        return None
    return said if said.startswith(_COOKIE) else None

"""Reads the Python stack of every thread of a dumped process, and what each thread was doing.

Threads begin, end and build frames while others run, and the dump may show any of that half done:
every object is known by its type before it is believed, and a stack that cannot be followed to its
end says why.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Final, Literal

import attrs

from gencore.analysis.inspection.objects import read_bytes, read_text, type_name
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python, ThreadState
from gencore.analysis.threads.line_table import line_at
from gencore.corefile import CoreFile

__all__ = ["Frame", "StackReader", "Thread", "read_stacks", "registers_of"]

_MOST_FRAMES: Final = 1 << 20
"""Of all threads together."""
_REGISTERS_AT: Final = 112
"""In ``struct elf_prstatus`` of a 64-bit kernel."""
_RAX, _RDI, _ORIG_RAX, _RIP = (_REGISTERS_AT + 8 * index for index in (10, 14, 15, 16))
"""Of ``struct user_regs_struct`` of x86-64."""
_REGISTERS_END: Final = _REGISTERS_AT + 27 * 8
_MOST_CALLS: Final = 1 << 12
"""No system call has a larger number; the kernel's own of none is -1."""
_SYSCALL: Final = b"\x0f\x05"
_MOVE_TO_EAX: Final = b"\xb8"
_CODE_SIZE: Final = 7
"""Bytes of both instructions: the second has a number of four bytes."""

State = Literal["running", "waiting for the GIL", "in a system call", "in native code"]


@attrs.frozen
class Frame:
    """One call of a Python function. The line is None if the instruction has none."""

    function: str
    file: str
    line: int | None
    address: int = 0
    """Of the interpreter's own record of it, ``_PyInterpreterFrame``; 0 if that was not read."""


@attrs.frozen(kw_only=True)
class Thread:
    """A thread at the instant of the dump."""

    tid: int
    name: str | None
    interpreter: int | None
    """The ID of its interpreter, 0 of the main one; None if it runs no Python."""
    holds_gil: bool
    collects_garbage: bool
    """Whether it holds the GIL while a collection is going on."""
    state: State | None
    """``running`` is Python code, or native code that holds the GIL; None if it is unknown."""
    system_call: int | None
    """Its number on this kind of machine, if it is known."""
    frames: tuple[Frame, ...]
    """Innermost first; empty for a thread that runs no Python."""
    incomplete: str | None
    """Why the stack may lack outer frames; None if it is complete."""


def read_stacks(
    python: Python, core: CoreFile, names: Mapping[int, str] | None = None
) -> tuple[Thread, ...]:
    """Return every thread that the interpreters or the core list, in order of the core.

    A thread that has run several interpreters is there for each. *names* has Python's names of
    threads by tid, as a manifest does; else the kernel's are taken.
    """
    called = {thread.tid: thread.name for thread in core.recorded_threads} | dict(names or {})
    states: dict[int, list[ThreadState | None]] = {tid: [] for tid in core.thread_ids}
    for state in python.threads():
        states.setdefault(state.tid, []).append(state)
    registers = registers_of(core)
    reader = StackReader(python)
    return tuple(
        reader.thread(tid, called.get(tid), state, registers.get(tid))
        for tid, found in states.items()
        for state in found or [None]
    )


def registers_of(core: CoreFile) -> dict[int, bytes]:
    """Return the ``struct elf_prstatus`` of each thread by tid; none unless it is x86-64.

    One without all registers is left out.
    """
    if core.machine != "EM_X86_64":
        return {}
    pairs = zip(core.thread_ids, core.thread_states, strict=True)
    return {tid: data for tid, data in pairs if len(data) >= _REGISTERS_END}


class StackReader:
    """Reads stacks and single frames; what many have in common, such as code, is read once."""

    def __init__(self, python: Python) -> None:
        """Read out of a Python's memory."""
        self._python, self._memory, self._layout = python, python.memory, python.layout
        self._codes: dict[int, _Code | None] = {}
        self._places: dict[tuple[int, int], tuple[str, str, int | None]] = {}
        self._left = _MOST_FRAMES

    def thread(
        self, tid: int, name: str | None, state: ThreadState | None, registers: bytes | None
    ) -> Thread:
        """Return a thread, of which Python's state and the registers are known, or None."""
        holds = state is not None and (self._python.gil_holder(state.interpreter) == state.address)
        call = self._system_call(registers) if registers else None
        incomplete = None
        frames: list[Frame] = []
        try:
            for frame in self._frames(state) if state else ():
                frames.append(frame)  # noqa: PERF402 - what came before an error counts
        except (AbsentMemory, _BrokenStack) as error:
            incomplete = str(error)
        return Thread(
            tid=tid,
            name=name,
            interpreter=self._python.interpreter_id(state.interpreter) if state else None,
            holds_gil=holds,
            collects_garbage=holds and self._collects(state),
            state=self._doing(state, call, holds=holds) if registers else None,
            system_call=call[0] if call else None,
            frames=tuple(frames),
            incomplete=incomplete,
        )

    def _collects(self, state: ThreadState | None) -> bool:
        return state is not None and self._python.is_collecting(state.interpreter)

    def _frames(self, state: ThreadState) -> Iterator[Frame]:
        word, layout = self._memory.word, self._layout
        frame = word(state.address + layout.frame_of_thread)
        if frame and layout.frame_of_c_frame is not None:
            frame = word(frame + layout.frame_of_c_frame)
        seen: set[int] = set()
        while frame:
            if frame in seen or not self._left:
                raise _BrokenStack("the list of frames does not end")
            seen.add(frame)
            self._left -= 1
            if (shown := self.frame(frame)) is not None:
                yield shown
            frame = word(frame + layout.previous_frame)

    def frame(self, address: int) -> Frame | None:
        """Return the call at a frame's address. Raises `AbsentMemory`.

        None for the frame of something that is no Python function.
        """
        code_address = self._python.code_of(address)
        if code_address is None:
            return None
        if code_address not in self._codes:
            self._codes[code_address] = self._code(code_address)
        code = self._codes[code_address]
        if code is None:
            return None
        instruction = self._memory.word(address + self._layout.instruction_of_frame)
        place = code_address, instruction
        if place not in self._places:
            self._places[place] = code.function, code.file, code.line(instruction)
        return Frame(*self._places[place], address)

    def _code(self, address: int) -> "_Code | None":
        memory, layout = self._memory, self._layout
        try:
            if type_name(memory, address) != "code":
                return None
            name = memory.word(address + layout.qualified_name_of_code)
            file = memory.word(address + layout.file_of_code)
            table = memory.word(address + layout.lines_of_code)
            return _Code(
                read_text(memory, layout, name),
                read_text(memory, layout, file),
                memory.number(address + layout.first_line_of_code, 4),
                read_bytes(memory, table),
                address + layout.instructions_of_code,
            )
        except AbsentMemory:
            return None

    def _system_call(self, registers: bytes) -> tuple[int | None, int] | None:
        """Return the number and first argument of the system call that a thread is in.

        The instruction is still to come where the call is to be restarted, or it is behind.
        """
        rax, rdi, rip = (struct.unpack_from("<Q", registers, at)[0] for at in (_RAX, _RDI, _RIP))
        try:
            if self._memory.read(rip, len(_SYSCALL)) == _SYSCALL:
                return rax, rdi
            before = self._memory.read(rip - _CODE_SIZE, _CODE_SIZE)
        except AbsentMemory:
            return None
        if not before.endswith(_SYSCALL):
            return None
        if before.startswith(_MOVE_TO_EAX):
            return int.from_bytes(before[1:5], "little"), rdi
        number = struct.unpack_from("<Q", registers, _ORIG_RAX)[0]
        return number if number < _MOST_CALLS else None, rdi

    def _doing(
        self, state: ThreadState | None, call: tuple[int | None, int] | None, *, holds: bool
    ) -> State:
        if holds:
            return "running"
        if call is None:
            return "in native code"
        takes_gil = state is not None and self._python.is_of_gil(state.interpreter, call[1])
        return "waiting for the GIL" if takes_gil else "in a system call"


@attrs.frozen
class _Code:
    function: str
    file: str
    first_line: int
    lines: bytes
    instructions: int

    def line(self, instruction: int) -> int | None:
        return line_at(self.lines, self.first_line, instruction - self.instructions)


class _BrokenStack(Exception):
    """The frames lead in a circle, or there are too many."""

"""Reads the values that frames of Python functions hold: local variables, and the stack.

A function's stack may have stale values behind those in use. Of which values it is certain that
they are in use, the code's exception table says: a handler needs them.
"""

from gencore.analysis.inspection.known_types import KnownTypes
from gencore.analysis.inspection.objects import SIZE_AT, read_bytes, read_text
from gencore.analysis.interpreter.python import Python
from gencore.analysis.threads.exception_table import depth_at

__all__ = ["FrameValues"]

_MOST_SLOTS, _LONGEST_TABLE = 1 << 12, 1 << 16
"""Slots of a frame; the table is in bytes."""


class FrameValues:
    """The values in the frames of a dumped Python. Each method raises `AbsentMemory`."""

    def __init__(self, python: Python) -> None:
        self._python, self._memory, self._layout = python, python.memory, python.layout
        self._types = KnownTypes(python.memory, {"code"})

    def code(self, frame: int) -> int | None:
        """Return the address of a frame's code object; None if it is no Python function's."""
        code = self._python.code_of(frame)
        return code if code and self._types.of(code) else None

    def function(self, code: int) -> tuple[str, str]:
        """Return the qualified name of a code object's function, and its file."""
        names = (self._layout.qualified_name_of_code, self._layout.file_of_code)
        function, file = (
            read_text(self._memory, self._layout, self._memory.word(code + name)) for name in names
        )
        return function, file

    def uses_name(self, code: int, name: str) -> bool:
        """Whether a code object's function uses a name, as that of an attribute, for example."""
        names = self._memory.word(code + self._layout.names_of_code)
        count = min(self._memory.word(names + SIZE_AT), _MOST_SLOTS)
        words = self._python.references(names + self._layout.items_of_tuple, count)
        return any(read_text(self._memory, self._layout, word) == name for word in words)

    def variables(self, frame: int, code: int) -> tuple[int, ...]:
        """Return what each local variable refers to, the arguments first; 0 if it is unset."""
        return self._words(frame, 0, self._size(code + self._layout.slots_of_code))

    def stack(self, frame: int, code: int) -> tuple[int, ...]:
        """Return what the stack refers to, stale values included."""
        count = self._size(code + self._layout.slots_of_code)
        return self._words(frame, count, self._size(code + self._layout.stack_of_code))

    def kept(self, frame: int, code: int) -> tuple[int, ...]:
        """Return what the handler of the running instruction keeps on the stack."""
        layout, memory = self._layout, self._memory
        at = memory.word(frame + layout.instruction_of_frame) - code - layout.instructions_of_code
        table = read_bytes(memory, memory.word(code + layout.handlers_of_code))
        depth = depth_at(table[:_LONGEST_TABLE], at)
        depth = min(depth, self._size(code + layout.stack_of_code))
        return self._words(frame, self._size(code + layout.slots_of_code), depth)

    def _size(self, address: int) -> int:
        return min(max(0, self._memory.number(address, 4)), _MOST_SLOTS)

    def _words(self, frame: int, first: int, count: int) -> tuple[int, ...]:
        return self._python.references(frame + self._layout.locals_of_frame + first * 8, count)

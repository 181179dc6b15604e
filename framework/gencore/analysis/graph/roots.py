"""Where a dumped Python's own references begin: its modules, and the frames of its threads."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

import attrs

from gencore.analysis.inspection.contents import Contents
from gencore.analysis.inspection.modules import modules_of
from gencore.analysis.inspection.objects import read_text, type_name
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python

__all__ = ["FrameRoot", "ModuleRoot", "find_frames", "find_modules"]

_DICT_OF_MODULE_AT: Final = 16
_MOST_FRAMES: Final = 1 << 16


@attrs.frozen
class ModuleRoot:
    """A module in ``sys.modules``, under the name that it has there."""

    name: str
    address: int
    variables: int
    """The address of its dictionary."""
    interpreter: int | None = 0
    """The ID of the one that has imported it, 0 of the main one; None if it is missing."""

    @property
    def shown(self) -> str:
        """As a root is shown."""
        return f"module {self.name}" + f" of interpreter {self.interpreter}" * bool(
            self.interpreter
        )


@attrs.frozen
class FrameRoot:
    """A call that a thread is in."""

    tid: int
    function: str
    """Qualified."""
    address: int
    code: int

    @property
    def shown(self) -> str:
        """As a root is shown."""
        return f"thread {self.tid}, {self.function}()"


def find_modules(python: Python) -> tuple[ModuleRoot, ...]:
    """Return what ``sys.modules`` has, of each interpreter; nothing if it is missing."""
    contents, found = Contents(python), dict[int, ModuleRoot]()
    for interpreter in python.interpreters():
        for root in _modules_of(python, contents, interpreter):
            found.setdefault(root.address, root)
    return tuple(found.values())


def find_frames(python: Python) -> Iterator[FrameRoot]:
    """Yield the frames of every thread, as far as they can be followed."""
    for state in python.threads():
        for frame in islice(python.frames(state), _MOST_FRAMES):
            try:
                code = python.code_of(frame)
                if code is None or type_name(python.memory, code) != "code":
                    continue
                name = python.memory.word(code + python.layout.qualified_name_of_code)
                function = read_text(python.memory, python.layout, name)
            except AbsentMemory:
                continue
            yield FrameRoot(state.tid, function, frame, code)


def _modules_of(python: Python, contents: Contents, interpreter: int) -> Iterator[ModuleRoot]:
    number = python.interpreter_id(interpreter)
    with suppress(AbsentMemory):
        for name, module in modules_of(python, contents, interpreter):
            with suppress(AbsentMemory):
                variables = python.memory.word(module + _DICT_OF_MODULE_AT)
                yield ModuleRoot(name, module, variables, number)

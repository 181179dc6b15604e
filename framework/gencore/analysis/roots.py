"""Where a dumped Python's own references begin: its modules, and the frames of its threads."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

import attrs
import numpy as np

from gencore.analysis.census import HeapObjects
from gencore.analysis.memory import AbsentMemory
from gencore.analysis.objects import find_in_dict, read_text, type_name
from gencore.analysis.parts import TypeLayouts
from gencore.analysis.python import Python
from gencore.analysis.references import words_of
from gencore.analysis.type_objects import bases_of

__all__ = ["FrameRoot", "ModuleRoot", "find_frames", "find_modules"]

_DICT_OF_MODULE_AT: Final = 16
_OF_C: Final = 3
"""``FRAME_OWNED_BY_CSTACK``, or since 3.14 ``_BY_INTERPRETER``: it has no variables."""
_TAG: Final = 7
"""Bits of a frame's pointer to its code, from 3.14 on."""
_MOST_FRAMES, _MOST_MODULES = 1 << 16, 1 << 16


@attrs.frozen
class ModuleRoot:
    """A module in ``sys.modules``, under the name that it has there."""

    name: str
    address: int
    variables: int
    """The address of its dictionary."""


@attrs.frozen
class FrameRoot:
    """A call that a thread is in."""

    tid: int
    function: str
    """Qualified."""
    address: int
    code: int


def find_modules(
    python: Python, objects: HeapObjects, layouts: TypeLayouts
) -> tuple[ModuleRoot, ...]:
    """Return what ``sys.modules`` has, of each interpreter; nothing if it is missing."""
    types = objects.types
    rows = [
        row
        for row in range(len(types))
        if any(objects.names[base] == "module" for base in bases_of(types, row))
    ]
    modules = objects.things.addresses[np.isin(objects.rows, rows)]
    found: dict[int, ModuleRoot] = {}
    for address in map(int, modules[:_MOST_MODULES]):
        for root in _modules_of(python, objects, layouts, address):
            found.setdefault(root.address, root)
    return tuple(found.values())


def find_frames(python: Python) -> Iterator[FrameRoot]:
    """Yield the frames of every thread, as far as they can be followed."""
    for state in python.threads():
        for frame in islice(python.frames(state), _MOST_FRAMES):
            try:
                owner = python.memory.number(frame + python.layout.owner_of_frame, 1)
                code = python.memory.word(frame + python.layout.code_of_frame) & ~_TAG
                if owner >= _OF_C or type_name(python.memory, code) != "code":
                    continue
                name = python.memory.word(code + python.layout.qualified_name_of_code)
                function = read_text(python.memory, python.layout, name)
            except AbsentMemory:
                continue
            yield FrameRoot(state.tid, function, frame, code)


def _modules_of(
    python: Python, objects: HeapObjects, layouts: TypeLayouts, module: int
) -> Iterator[ModuleRoot]:
    """Yield the modules in ``modules`` of a module, if that is ``sys``."""
    memory, layout = python.memory, python.layout
    try:
        variables = memory.word(module + _DICT_OF_MODULE_AT)
        name = find_in_dict(memory, layout, variables, "__name__")
        if not name or read_text(memory, layout, name) != "sys":
            return
        modules = find_in_dict(memory, layout, variables, "modules")
    except AbsentMemory:
        return
    for key, value in _items_of(objects, layouts, modules) if modules else ():
        try:
            dictionary = memory.word(value + _DICT_OF_MODULE_AT)
            yield ModuleRoot(read_text(memory, layout, key), value, dictionary)
        except AbsentMemory:
            continue


def _items_of(
    objects: HeapObjects, layouts: TypeLayouts, dictionary: int
) -> Iterator[tuple[int, int]]:
    things, _ = objects.words.things(np.array([dictionary], np.uint64))
    if "dict" not in objects.names or not len(things):
        return
    for part in layouts.of(objects.names.index("dict")).parts(things):
        for _, places in words_of(part, 2 * _MOST_MODULES) if part.way == "entry" else ():
            words, _ = objects.words.at(places)
            pairs = words[: len(words) // 2 * 2].reshape(-1, 2)
            yield from ((int(key), int(value)) for key, value in pairs if key and value)

"""Says how one object leads to another: by an attribute, a key, an index, a variable.

What has no expression in Python is in angle brackets: a key itself, an element of a set, a value
on a stack, a member in C that has no name. A key may be a secret, as a session's token is: unless
all are asked for, only numbers are shown, and names of attributes; of others it is the type.
"""

from typing import Final

import attrs
import numpy as np

from gencore.analysis.graph.roots import FrameRoot
from gencore.analysis.heap.formulas import Kind
from gencore.analysis.heap.parts import Part, TypeLayouts, part_of_frames
from gencore.analysis.heap.references import references_in, words_of
from gencore.analysis.inspection.objects import SIZE_AT
from gencore.analysis.inspection.type_facts import TypeFacts
from gencore.analysis.inspection.values import Values
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python

__all__ = ["DICT", "Link", "Links"]

DICT: Final = ".__dict__"
_LONGEST_KEY: Final = 60
"""Characters of a key that are shown."""
_SHOWN_KEYS: Final = {"int", "bool", "NoneType"}
"""Types of keys that are shown always."""
_MANAGED_DICT_AT: Final = -24
_GENERAL_KIND: Final = 0
"""Of a table of keys: entries of hash, key and value; others have no hash."""
_KIND_AT, _LOG2_BYTES_AT, _INDICES_AT, _MOST_LOG2 = 10, 9, 32, 47
_FRAME_OF_FRAME_AT: Final = 24
_MEMBERS: Final = {
    "module": {16: DICT},
    "cell": {16: ".cell_contents"},
    "function": {48: ".__code__", 56: ".__defaults__", 64: ".__kwdefaults__", 88: DICT},
    "type": {256: ".__base__", 264: DICT, 336: ".__bases__", 344: ".__mro__"},
    "builtin_function_or_method": {24: ".__self__"},
    "frame": {16: ".f_back"},
    "memoryview": {64: ".obj"},
    "functools._lru_cache_wrapper": {72: "<cache>", 88: ".__wrapped__"},
    "traceback": {16: ".tb_next", 24: ".tb_frame"},
    "BaseException": {
        16: DICT,
        24: ".args",
        40: ".__traceback__",
        48: ".__context__",
        56: ".__cause__",
    },
}
"""Offsets of what is no member of its type in C, but has a getter there."""
_FRAMES: Final = {
    "generator": ".gi_frame.f_locals",
    "coroutine": ".cr_frame.f_locals",
    "async_generator": ".ag_frame.f_locals",
    "frame": ".f_locals",
}


@attrs.frozen
class Link:
    """How an object leads to the next."""

    text: str
    """What is appended to the expression of the first."""
    name: str | None = None
    """The key that leads on from a dictionary, if it can be the name of an attribute."""


class Links:
    """The links between objects, each of which is looked for when it is asked for."""

    def __init__(self, python: Python, layouts: TypeLayouts, *, shows_keys: bool = False) -> None:
        self._shows_keys = shows_keys
        self._python, self._layouts, self._words = python, layouts, layouts.words
        self._memory, self._layout = python.memory, python.layout
        self._values = Values(python)
        self._in_part = {
            "index": lambda _, position, *__: Link(f"[{position}]"),
            "entry": self._entry,
            "value": self._value,
            "attribute": self._attribute,
            "local": self._local,
            "member": lambda *_: Link(DICT),
        }

    def between(self, source: int, target: int) -> Link | None:
        """Return how an object leads to another, both by their addresses; None if it does not."""
        try:
            return self._between(source, target)
        except AbsentMemory:
            return None

    def from_frame(self, frame: FrameRoot, target: int) -> Link | None:
        """Return the same of a frame."""
        kind = Kind(self._words, self._python, 0, 0)
        part = part_of_frames(kind, np.array([frame.address], np.uint64), np.ones(1, np.bool_))
        position = self._position(part, target)
        if position is None:
            return None
        try:
            return Link(self._variable(frame.code, position) or "<stack>")
        except AbsentMemory:
            return Link("<stack>")

    def _between(self, source: int, target: int) -> Link | None:
        facts = self._values.type_of(source)
        row = int(self._layouts.types.find(np.array([facts.address], np.uint64))[0])
        thing, there = self._words.things(np.array([source], np.uint64))
        if row < 0 or not there[0]:
            return None
        owned = self._layouts.of(row)
        for part in owned.parts(thing):
            position = self._position(part, target)
            if position is not None and part.way in self._in_part:
                return self._in_part[part.way](part, position, facts, source)
            if position is not None:
                return Link(f"<{part.way}>")
        offsets = [at for at in owned.members if int(thing.word(at)[0]) == target]
        return _member(facts, offsets[0]) if offsets else None

    def _position(self, part: Part, target: int) -> int | None:
        """Return where in a part of one object the address of another is."""
        done = 0 if part.firsts is None else int(part.firsts[:1].sum())
        for _, places in words_of(part, self._words.most_references):
            hits = np.flatnonzero(references_in(self._words, part, places) == target)
            if len(hits):
                return done + int(hits[0])
            done += len(places)
        return None

    def _entry(self, part: Part, position: int, *_: object) -> Link:
        place = part.places(np.zeros(1, np.int64), np.array([position & ~1]))
        key = self._memory.word(int(place[0]))
        return self._item(key) if position & 1 else Link(f"<key {self._shown(key)}>")

    def _value(self, _: Part, position: int, __: TypeFacts, source: int) -> Link:
        keys = self._memory.word(source + self._layout.keys_of_dict)
        return self._item(self._key(keys, position))

    def _attribute(self, _: Part, position: int, facts: TypeFacts, __: int) -> Link:
        keys = self._memory.word(facts.address + self._layout.cached_keys_of_type)
        link = self._item(self._key(keys, position))
        return Link(f".{link.name}" if link.name else f"{DICT}{link.text}")

    def _local(self, _: Part, position: int, facts: TypeFacts, source: int) -> Link:
        if "frame" in facts.lineage:
            frame = self._memory.word(source + _FRAME_OF_FRAME_AT)
        else:
            frame = source + facts.basic_size - self._layout.locals_of_frame
        code = self._python.reference(frame + self._layout.code_of_frame)
        name = self._variable(code, position)
        before = next((_FRAMES[base] for base in facts.lineage if base in _FRAMES), "")
        return Link(f"{before}[{name!r}]" if name else "<stack>")

    def _item(self, key: int) -> Link:
        shown = self._values.show(key, _LONGEST_KEY)
        is_name = shown[:1] in {"'", '"'} and shown[1:-1].isidentifier()
        return Link(f"[{self._shown(key)}]", shown[1:-1] if is_name else None)

    def _shown(self, key: int) -> str:
        kind = self._values.type_name(key)
        if self._shows_keys or kind in _SHOWN_KEYS:
            return self._values.show(key, _LONGEST_KEY)
        return kind

    def _key(self, keys: int, position: int) -> int:
        """Return the key at a position of a table of keys."""
        log2 = min(self._memory.number(keys + _LOG2_BYTES_AT, 1) & 0xFF, _MOST_LOG2)
        general = self._memory.number(keys + _KIND_AT, 1) == _GENERAL_KIND
        size, key_at = (24, 8) if general else (16, 0)
        return self._memory.word(keys + _INDICES_AT + (1 << log2) + position * size + key_at)

    def _variable(self, code: int, position: int) -> str | None:
        """Return the name of a variable of some code; None of what is on the stack behind them."""
        names = self._memory.word(code + self._layout.slot_names_of_code)
        if position >= self._memory.word(names + SIZE_AT):
            return None
        name = self._memory.word(names + self._layout.items_of_tuple + 8 * position)
        return self._values.text(name, _LONGEST_KEY)


def _member(facts: TypeFacts, offset: int) -> Link:
    """Return how a word of an object itself leads on."""
    if offset in (_MANAGED_DICT_AT, facts.dict_offset or None):
        return Link(DICT)
    names = {at: f".{name}" for name, at in facts.members.items()}
    for base in facts.lineage:
        names |= _MEMBERS.get(base, {})
    return Link(names.get(offset, f"<+{offset}>"))

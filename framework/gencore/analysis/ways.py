"""Says how one object leads to another, as an expression that a Python programmer reads.

`module cache_app: CACHE['orders'][17].payload` is a way from a root. What has no expression is in
angle brackets: a key, an element of a set, a member in C that has no name.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import attrs
import numpy as np

from gencore.analysis.memory import AbsentMemory
from gencore.analysis.objects import SIZE_AT
from gencore.analysis.parts import Part, part_of_frames
from gencore.analysis.reachability import Heap
from gencore.analysis.references import references_in, words_of
from gencore.analysis.roots import FrameRoot
from gencore.analysis.sizes import Kind
from gencore.analysis.type_facts import TypeFacts
from gencore.analysis.values import Values

__all__ = ["Link", "Ways"]

_LONGEST_KEY: Final = 60
"""Characters of a key that are shown."""
_LONGEST_WAY: Final = 1 << 12
"""Objects on it."""
_MANAGED_DICT_AT: Final = -24
_DICT: Final = "__dict__"
_GENERAL_KIND: Final = 0
"""Of a table of keys: entries of hash, key and value; others have no hash."""
_KIND_AT, _LOG2_BYTES_AT, _INDICES_AT = 10, 9, 32
_MEMBERS: Final = {
    "module": {16: _DICT},
    "cell": {16: "cell_contents"},
    "function": {48: "__code__", 56: "__defaults__", 64: "__kwdefaults__", 88: _DICT},
    "type": {256: "__base__", 264: _DICT, 336: "__bases__", 344: "__mro__"},
    "builtin_function_or_method": {24: "__self__"},
    "frame": {16: "f_back"},
    "traceback": {16: "tb_next", 24: "tb_frame"},
    "BaseException": {
        16: _DICT,
        24: "args",
        40: "__traceback__",
        48: "__context__",
        56: "__cause__",
    },
}
"""Offsets of what is no member of the type in C, but has a getter there."""
_FRAMES: Final = {
    "generator": ".gi_frame.f_locals",
    "coroutine": ".cr_frame.f_locals",
    "async_generator": ".ag_frame.f_locals",
}


@attrs.frozen
class Link:
    """How an object leads to the next."""

    text: str
    """What is appended to the expression of the first."""
    is_dict: bool = False
    """Whether the next is the first one's ``__dict__``."""
    key: str | None = None
    """What a text that is a key of a dictionary says, if it is an identifier."""


class Ways:
    """The ways in a heap."""

    def __init__(self, heap: Heap) -> None:
        self._heap = heap
        self._values = Values(heap.python)
        self._modules = {
            address: module.name
            for module in reversed(heap.modules)
            for address in (module.address, module.variables)
        }

    def from_root(self, node: int) -> list[int]:
        """Return the nodes on a shortest way from a root to a node; none if there is none."""
        found: list[int] = []
        while node >= 0 and node != self._heap.root and len(found) < _LONGEST_WAY:
            found.append(node)
            node = int(self._heap.parents[node])
        return found[::-1] if node == self._heap.root else []

    def expression(self, nodes: Sequence[int]) -> str:
        """Return a way from a root as text."""
        if not nodes:
            return "unreachable"
        text, inside = "", self._is_namespace(nodes[0])
        links = [self.link(*pair) for pair in pairwise(nodes)]
        for link in links:
            if inside and link.key is not None:
                text += f".{link.key}" if text else link.key
            elif link.is_dict:
                inside = True
                continue
            else:
                text += f".{_DICT}{link.text}" if inside and text else link.text
            inside = False
        if inside and text:
            text += f".{_DICT}"
        return f"{self.root(nodes[0])}: {text}" if text else self.root(nodes[0])

    def root(self, node: int) -> str:
        """Return what a root is."""
        heap = self._heap
        if node >= len(heap.objects.rows):
            frame = heap.frames[node - len(heap.objects.rows)]
            return f"thread {frame.tid}, {frame.function}()"
        address = heap.address_of(node)
        if address in self._modules:
            return f"module {self._modules[address]}"
        return f"native code: {self._values.show(address, _LONGEST_KEY)}"

    def link(self, source: int, target: int) -> Link:
        """Return how a node leads to an object that it has a reference to."""
        try:
            return self._link(source, self._heap.address_of(target))
        except AbsentMemory:
            return Link("<missing>")

    def _is_namespace(self, node: int) -> bool:
        """Whether a root is a dictionary of variables, whose keys are names."""
        heap = self._heap
        return node < len(heap.objects.rows) and any(
            module.variables == heap.address_of(node) for module in heap.modules
        )

    def _link(self, source: int, target: int) -> Link:
        heap = self._heap
        if source >= len(heap.objects.rows):
            return self._of_frame(heap.frames[source - len(heap.objects.rows)], target)
        facts = self._values.type_of(heap.address_of(source))
        thing = heap.objects.things.chosen(np.array([source]))
        owned = heap.layouts.of(int(heap.objects.rows[source]))
        for part in owned.parts(thing):
            position = self._position(part, target)
            if position is not None:
                return self._in_part(facts, heap.address_of(source), part, position)
        for offset in owned.members:
            if int(thing.word(offset)[0]) == target:
                return _member(facts, offset)
        return Link("<type>")

    def _of_frame(self, frame: FrameRoot, target: int) -> Link:
        words = self._heap.objects.words
        kind = Kind(words, self._heap.python, 0, 0)
        place = np.array([frame.address], np.uint64)
        part = part_of_frames(kind, place, np.ones(1, np.bool_))
        position = self._position(part, target)
        if position is None:
            return Link("<stack>")
        name = self._variable(frame.code, position)
        return Link(name or "<stack>")

    def _position(self, part: Part, target: int) -> int | None:
        """Return where in a part of one object the address of another is."""
        words, done = self._heap.objects.words, 0
        if part.firsts is not None and len(part.firsts):
            done = int(part.firsts[0])
        for _, places in words_of(part, words.size // 8):
            hits = np.flatnonzero(references_in(words, part, places) == target)
            if len(hits):
                return done + int(hits[0])
            done += len(places)
        return None

    def _in_part(self, facts: TypeFacts, source: int, part: Part, position: int) -> Link:
        memory, layout = self._heap.python.memory, self._heap.python.layout
        match part.way:
            case "index":
                return Link(f"[{position}]")
            case "entry":
                place = int(part.places(np.zeros(1, np.int64), np.array([position & ~1]))[0])
                key = self._values.show(memory.word(place), _LONGEST_KEY)
                return self._item(memory.word(place)) if position & 1 else Link(f"<key {key}>")
            case "attribute":
                of_dict = "dict" in facts.lineage
                at = source + layout.keys_of_dict if of_dict else 0
                keys = memory.word(at or facts.address + layout.cached_keys_of_type)
                link = self._item(self._key(keys, position))
                return link if of_dict or link.key is None else Link(f".{link.key}")
            case "local":
                code = memory.word(self._frame_of(facts, source) + layout.code_of_frame) & ~7
                name = self._variable(code, position)
                before = next((_FRAMES[base] for base in facts.lineage if base in _FRAMES), "")
                return Link(f"{before or '.f_locals'}[{name!r}]" if name else "<stack>")
            case "member":
                return Link(f".{_DICT}", is_dict=True)
        return Link(f"<{part.way}>")

    def _frame_of(self, facts: TypeFacts, source: int) -> int:
        if "frame" in facts.lineage:
            return self._heap.python.memory.word(source + 24)
        return source + facts.basic_size - self._heap.python.layout.locals_of_frame

    def _item(self, key: int) -> Link:
        shown = self._values.show(key, _LONGEST_KEY)
        text = shown[1:-1]
        return Link(f"[{shown}]", key=text if shown[:1] in "'\"" and text.isidentifier() else None)

    def _key(self, keys: int, position: int) -> int:
        memory = self._heap.python.memory
        first = keys + _INDICES_AT + (1 << min(memory.number(keys + _LOG2_BYTES_AT, 1) & 0xFF, 47))
        general = memory.number(keys + _KIND_AT, 1) == _GENERAL_KIND
        return memory.word(first + position * (24 if general else 16) + (8 if general else 0))

    def _variable(self, code: int, position: int) -> str | None:
        """Return the name of a variable of some code; None of what is on the stack behind them."""
        memory, layout = self._heap.python.memory, self._heap.python.layout
        try:
            names = memory.word(code + layout.slot_names_of_code)
            if position >= memory.word(names + SIZE_AT):
                return None
            name = memory.word(names + layout.items_of_tuple + 8 * position)
            return self._values.text(name, _LONGEST_KEY)
        except AbsentMemory:
            return None


def _member(facts: TypeFacts, offset: int) -> Link:
    """Return how a word of an object itself leads on."""
    if offset in (_MANAGED_DICT_AT, facts.dict_offset or None):
        return Link(f".{_DICT}", is_dict=True)
    names = {at: name for name, at in facts.members.items()}
    for base in facts.lineage:
        names |= _MEMBERS.get(base, {})
    name = names.get(offset)
    return Link(f".{name}" if name else f"<+{offset}>", is_dict=name == _DICT)

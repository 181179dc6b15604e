"""Shows objects of a dumped process as Python does, bounded."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from gencore.analysis.inspection.contents import Contents
from gencore.analysis.inspection.scalars import SCALARS
from gencore.analysis.inspection.type_facts import TypeFacts
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python

__all__ = ["Values"]

_MOST_ITEMS: Final = 1 << 10
"""Places of a container that are looked at: the text ends earlier."""
_DEEPEST: Final = 3
"""Objects in one another that are shown."""
_MISSING: Final = "<missing>"
_ELIDED: Final = "..."
_BRACKETS: Final = {
    "dict": ("{", "}"),
    "frozendict": ("frozendict({", "})"),
    "list": ("[", "]"),
    "tuple": ("(", ")"),
    "set": ("{", "}"),
    "frozenset": ("frozenset({", "})"),
    "collections.deque": ("deque([", "])"),
}
_EMPTY: Final = {"set": "set()", "frozenset": "frozenset()", "frozendict": "frozendict()"}
_METHOD, _BUILTIN = "method", "builtin_function_or_method"
_MAXLEN_AT: Final = 64
"""In a ``dequeobject`` of Modules/_collectionsmodule.c: negative if there is none."""


class Values(Contents):
    """The objects of a dumped Python, each found by its address."""

    def show(self, address: int, limit: int = 200) -> str:
        """Return an object as its ``repr`` shows it, at most *limit* characters.

        An object with a class of its own is shown as ``<module.Type a=1, b='x'>``, whatever its
        ``__repr__`` is; one that is deep in others, or within itself, without what is in it; and
        what is missing in the core as ``<missing>``.
        """
        return _Showing(self, self._python, limit).text(address)


class _Showing:
    """One object that is shown, and those in it: *outer* are those around one, by address."""

    def __init__(self, contents: Contents, python: Python, limit: int) -> None:
        self._contents, self._python, self._limit = contents, python, limit
        self._memory, self._layout = python.memory, python.layout

    def text(self, address: int) -> str:
        text = ""
        for piece in self._object(address, ()):
            text += piece
            if len(text) > self._limit:
                return text[: max(0, self._limit - len(_ELIDED))] + _ELIDED
        return text

    def _object(self, address: int, outer: tuple[int, ...]) -> Iterator[str]:
        try:
            yield from self._known(self._contents.type_of(address), address, outer)
        except AbsentMemory:
            yield _MISSING

    def _known(self, facts: TypeFacts, address: int, outer: tuple[int, ...]) -> Iterator[str]:
        kind = facts.lineage[0] if facts.is_built_in else ""
        inner = (*outer, address)
        if kind in SCALARS:
            yield self._scalar(kind, address)
        elif "type" in facts.lineage:
            yield f"<class '{self._contents.type_at(address).name}'>"
        elif address in outer or len(outer) >= _DEEPEST:
            yield _elided(kind, facts, address)
        elif kind in _BRACKETS:
            yield from self._container(kind, address, inner)
        elif kind == _METHOD:
            yield from self._method(address, inner)
        elif kind == _BUILTIN:
            yield self._builtin(address)
        elif "BaseException" in facts.lineage:
            yield facts.name.rpartition(".")[2]
            arguments = self._memory.word(address + self._layout.arguments_of_exception)
            yield from _within("(", self._items(arguments, inner), ")")
        else:
            yield from self._instance(facts, address, inner)

    def _scalar(self, kind: str, address: int) -> str:
        return SCALARS[kind](self._python, address, self._limit)

    def _container(self, kind: str, address: int, outer: tuple[int, ...]) -> Iterator[str]:
        begin, end = _BRACKETS[kind]
        length = self._contents.length(address)
        if not length and kind in _EMPTY:
            yield _EMPTY[kind]
            return
        if kind == "tuple" and length == 1:
            end = ",)"
        if kind == "collections.deque":
            most = self._memory.number(address + _MAXLEN_AT, 8)
            end = f"], maxlen={most})" if most >= 0 else end
        yield from _within(begin, self._items(address, outer), end)

    def _items(self, address: int, outer: tuple[int, ...]) -> Iterator[Iterator[str]]:
        for key, value in self._contents.items(address, _MOST_ITEMS):
            shown = self._object(value, outer)
            yield shown if key is None else chain(self._object(key, outer), (": ",), shown)

    def _instance(self, facts: TypeFacts, address: int, outer: tuple[int, ...]) -> Iterator[str]:
        """Yield what an object of any other class is, and has of those it inherits from."""
        kind = next((name for name in facts.lineage if name in {*SCALARS, *_BRACKETS}), "")
        attributes = self._contents.attributes(address)
        if not kind and not attributes:
            yield f"<{facts.name} at {address:#x}>"
            return
        yield f"<{facts.name} "
        if kind in SCALARS:
            yield self._scalar(kind, address)
        elif kind:
            yield from self._container(kind, address, outer)
        parts = (
            chain((f"{name}=",), self._object(value, outer)) for name, value in attributes.items()
        )
        yield from _within(" " if kind and attributes else "", parts, ">")

    def _method(self, address: int, outer: tuple[int, ...]) -> Iterator[str]:
        layout, word = self._layout, self._memory.word
        function = word(address + layout.function_of_method)
        name = word(function + layout.qualified_name_of_function)
        yield f"<bound method {self._contents.text(name, self._limit)} of "
        yield from self._object(word(address + layout.self_of_method), outer)
        yield ">"

    def _builtin(self, address: int) -> str:
        layout, word = self._layout, self._memory.word
        definition = word(address + layout.definition_of_builtin)
        name = self._memory.string(word(definition)).decode(errors="replace")
        owner = word(address + layout.self_of_builtin)
        if not owner or "module" in self._contents.type_of(owner).lineage:
            return f"<built-in function {name}>"
        return (
            f"<built-in method {name} of {self._contents.type_name(owner)} object at {owner:#x}>"
        )


def _within(begin: str, parts: Iterable[Iterable[str]], end: str) -> Iterator[str]:
    yield begin
    between = ""
    try:
        for part in parts:
            yield between
            yield from part
            between = ", "
    except AbsentMemory:
        yield f"{between}{_MISSING}"
    yield end


def _elided(kind: str, facts: TypeFacts, address: int) -> str:
    if kind in _BRACKETS:
        begin, end = _BRACKETS[kind]
        return f"{begin}{_ELIDED}{end}"
    return f"<{facts.name} at {address:#x}>"

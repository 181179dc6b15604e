"""Groups the memory map by kind and name, and draws it as a treemap."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from gencore.bundle.manifest import ManifestValue
from gencore.html_report.treemap import Box, squarify
from gencore.html_report.wording import count, percent, size, visible

__all__ = ["Drawing", "Entry", "Kind", "MemoryMap", "draw", "read_memory"]

_LABELS: Final = {
    "heap": "Heap",
    "anonymous": "Anonymous",
    "stack": "Main stack",
    "code": "Code",
    "file": "Files",
    "shared": "Shared",
    "vdso": "Kernel pages",
    "other": "Other",
    "reserved": "Reserved",
    "builtin": "Built-in types",
    "defined": "Types of packages and of the application",
}
_MEANINGS: Final = {
    "heap": "the C library's heap, grown with brk",
    "anonymous": "Python objects, malloc's arenas, threads' stacks",
    "stack": "of the main thread",
    "code": "executable pages of the interpreter and of libraries",
    "file": "other pages of mapped files",
    "shared": "memfd, /dev/shm, System V",
    "vdso": "vdso and vvar",
    "other": "of a kind unknown to this page",
    "reserved": "no access: guard pages, space reserved for arenas; not drawn",
    "builtin": "of Python itself: their names have no module",
    "defined": "named with the module that defines them",
}
_OF_MAPPINGS: Final = frozenset(_LABELS) - {"builtin", "defined"}
_MAX_ENTRIES: Final = 40
"""Rows and rectangles of one kind; the smaller ones are summed up in one more."""
_CHARACTER: Final = 6.9
"""The width of a letter, for a font of 11 units: a label that might not fit is cut."""
_LINE: Final = 15.0
_LEAST_LETTERS: Final = 4
_HEADING: Final = 18.0
_SMALLEST_DRAWN: Final = 0.75


@attrs.frozen
class Entry:
    """Mappings of one kind and name."""

    name: str
    size: float
    mappings: int
    is_file: bool = True
    """Whether the name is a path, and so still useful when it is cut."""
    noun: str = "mapping"
    """What is counted."""


@attrs.frozen
class Kind:
    """All memory of one kind; the largest entries first, and the rest as one."""

    key: str
    """One of a fixed set: it becomes the name of a class in the page."""
    size: float
    share: float
    """Of all that can be accessed."""
    entries: tuple[Entry, ...]

    @property
    def label(self) -> str:
        """Its name for a reader."""
        return _LABELS[self.key]

    @property
    def meaning(self) -> str:
        """What it contains."""
        return _MEANINGS[self.key]


@attrs.frozen
class MemoryMap:
    """The kinds, the largest first, and what they amount to."""

    kinds: tuple[Kind, ...]
    reserved: Kind | None
    accessible: float
    mappings: int


@attrs.frozen
class Cell:
    """One rectangle of a drawing; a label that would not fit is empty."""

    box: Box
    title: str
    label: str
    detail: str


@attrs.frozen
class Group:
    """One kind in a drawing: its own rectangle, and those in it."""

    key: str
    box: Box
    title: str
    label: str
    cells: tuple[Cell, ...]


@attrs.frozen
class Drawing:
    """A treemap of a given size."""

    width: int
    height: int
    groups: tuple[Group, ...]


def read_memory(rows: Sequence[ManifestValue]) -> MemoryMap:
    """Group the rows of a manifest's ``memory``. Rows without a size are left out."""
    by_kind: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if (bytes_ := row["size"].amount or 0) >= 1:
            by_kind[_key(row)][_name(row)].append(bytes_)
    accessible = sum(_total(names) for key, names in by_kind.items() if key != "reserved")
    kinds = [_kind(key, names, accessible) for key, names in by_kind.items()]
    kinds.sort(key=lambda kind: (-kind.size, kind.key))
    return MemoryMap(
        kinds=tuple(kind for kind in kinds if kind.key != "reserved"),
        reserved=next((kind for kind in kinds if kind.key == "reserved"), None),
        accessible=accessible,
        mappings=len(rows),
    )


def draw(memory: MemoryMap, width: int, height: int) -> Drawing:
    """Draw what can be accessed."""
    boxes = squarify([kind.size for kind in memory.kinds], Box(0, 0, width, height))
    drawn = zip(memory.kinds, boxes, strict=False)
    return Drawing(width, height, tuple(_group(kind, box) for kind, box in drawn if _is_seen(box)))


def _key(row: ManifestValue) -> str:
    kind = row["kind"].text
    return kind if kind in _OF_MAPPINGS else "other"


def _name(row: ManifestValue) -> str:
    """Return the path, or else the address: unnamed mappings are not one block."""
    return row["path"].text or str(row["start"])


def _total(names: dict[str, list[float]]) -> float:
    return sum(map(sum, names.values()))


def _kind(key: str, names: dict[str, list[float]], accessible: float) -> Kind:
    total = _total(names)
    entries = [_entry(name, sizes) for name, sizes in names.items()]
    entries.sort(key=lambda entry: (-entry.size, entry.name))
    share = total / accessible if key != "reserved" else 0.0
    return Kind(key, total, share, tuple(_largest(entries)))


def _entry(name: str, sizes: list[float]) -> Entry:
    return Entry(name, sum(sizes), len(sizes), is_file=not name.startswith("0x"))


def _largest(entries: list[Entry]) -> Iterable[Entry]:
    yield from entries[:_MAX_ENTRIES]
    if rest := entries[_MAX_ENTRIES:]:
        mappings = sum(entry.mappings for entry in rest)
        total = sum(entry.size for entry in rest)
        yield Entry(f"{len(rest):,} smaller", total, mappings, is_file=False)


def _group(kind: Kind, box: Box) -> Group:
    """Lay out one kind. The sum of the smaller ones may be larger than the entries before it."""
    heading = f"{kind.label} {size(kind.size)}"
    label = _whole(heading, box, _LINE) or _fitting(kind.label, box, _LINE)
    title = f"{kind.label}: {size(kind.size)}, {percent(kind.share)}"
    entries = sorted(kind.entries, key=lambda entry: -entry.size)
    inner = box.inside(2, _HEADING if label else 2)
    boxes = squarify([entry.size for entry in entries], inner)
    drawn = zip(entries, boxes, strict=False)
    cells = tuple(_cell(kind, entry, at) for entry, at in drawn if _is_seen(at))
    return Group(kind.key, box, title, label, cells)


def _cell(kind: Kind, entry: Entry, box: Box) -> Cell:
    title = f"{entry.name}: {size(entry.size)}, {count(entry.mappings, entry.noun)} ({kind.label})"
    label, amount = visible(entry.name.rpartition("/")[2]), size(entry.size)
    if not (entry.is_file or _fits(label, box, _LINE)):
        return Cell(box, title, _whole(amount, box, _LINE), "")
    label = _fitting(label, box, _LINE)
    return Cell(box, title, label, _whole(amount, box, 2 * _LINE) if label else "")


def _fitting(text: str, box: Box, height: float) -> str:
    """Return as much of the text as fits into the box, or nothing."""
    letters = _letters(box)
    if box.height < height + 3 or letters < _LEAST_LETTERS:
        return ""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _whole(text: str, box: Box, height: float) -> str:
    """Return a text that would mislead if it were cut, or nothing if it does not fit."""
    return text if _fits(text, box, height) else ""


def _fits(text: str, box: Box, height: float) -> bool:
    return box.height >= height + 3 and len(text) <= _letters(box)


def _letters(box: Box) -> int:
    return int((box.width - 8) / _CHARACTER)


def _is_seen(box: Box) -> bool:
    return min(box.width, box.height) >= _SMALLEST_DRAWN

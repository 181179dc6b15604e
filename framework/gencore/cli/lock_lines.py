"""What threads wait for, as text: a paragraph for each lock."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final

from gencore._overview import deadlock_sentence
from gencore.bundle.manifest import ManifestValue
from gencore.cli.thread_stacks import integer_of

__all__ = ["lock_lines"]

Name = Callable[[ManifestValue], str]

_MOST_NAMES: Final = 5
_HAVE_OWNERS: Final = ("Lock", "RLock", "module lock", "GIL")
_HOW: Final = {
    "with": ", which is in a with block of it",
    "identity": ", or by a thread that has ended and had its identity before",
}


def lock_lines(found: ManifestValue) -> Iterator[str]:
    """Yield the lines of what ``gencore locks --json`` prints, deadlocks first."""
    shown = _Shown(found["threads"].rows)
    waits = {integer_of(row["tid"]): row for row in found["waits"]}
    for cycle in found["deadlocks"]:
        yield shown.deadlock([waits[integer_of(tid)] for tid in cycle])
        yield ""
    groups = sorted(found["waits"], key=_lock_of)
    paragraphs = [list(rows) for _, rows in groupby(groups, key=_lock_of)]
    for number, rows in enumerate(sorted(paragraphs, key=_interest)):
        yield from ("",) if number else ()
        yield from shown.paragraph(rows)
    if not paragraphs:
        where = " in what is left of the core" if found["incomplete"].known else ""
        yield f"no thread waits for a lock{where}"


def _lock_of(wait: ManifestValue) -> tuple[str, str]:
    return str(wait["address"]), str(wait["within"])


def _interest(waits: Sequence[ManifestValue]) -> tuple[bool, bool, int]:
    """Return what is sorted by: abandoned locks, then those whose owner is known, then others."""
    first = waits[0]
    return first["is_owner_gone"].text != "yes", not first["held_by"].known, -len(waits)


class _Shown:
    """Threads, by the names that they are shown with."""

    def __init__(self, threads: list[ManifestValue]) -> None:
        self._threads = {integer_of(row["tid"]): row for row in threads}
        self._count = Counter(row["name"].text for row in threads)

    def name(self, tid: ManifestValue) -> str:
        """Return a thread's name, with its tid if others have that name too."""
        row = self._threads.get(integer_of(tid), ManifestValue(None))
        name = row["name"].text
        if name is None:
            return f"thread {tid}"
        return name if self._count[name] == 1 else f"{name} ({tid})"

    def deadlock(self, cycle: list[ManifestValue]) -> str:
        """Return the sentence about a cycle of waits."""
        names = [self.name(row["tid"]) for row in cycle]
        return deadlock_sentence(names, [row["kind"].text for row in cycle])

    def paragraph(self, waits: list[ManifestValue]) -> Iterator[str]:
        """Yield who waits for one lock, where, and where its owner is."""
        first = waits[0]
        count = f"{len(waits):,} threads wait" if len(waits) > 1 else "1 thread waits"
        owner = first["held_by"]
        itself = owner.known and owner.number == first["tid"].number
        how = _HOW.get(str(first["known_by"]), "") if owner.known and not itself else ""
        yield f"{count} {self._what(first)}{self._owner(first)}{how}:"
        places = groupby(sorted(waits, key=self._place_of), key=self._place_of)
        for place, rows in places:
            yield f"    {self._names(list(rows))}: {place}"
        if owner.known and not itself:
            yield f"    {self.name(owner)} itself: {self._place(owner)}{self._doing(owner)}"

    def _what(self, wait: ManifestValue) -> str:
        kind, within = wait["kind"].text, wait["within"].text
        if kind == "Thread":
            return f"for the end of {self.name(wait['held_by'])}"
        if kind == "GIL":
            return "for the GIL"
        if kind == "module lock":
            return f"for the import of {wait['module']}"
        place = f"in {within} " if within else ""
        what = kind if kind in _HAVE_OWNERS else wait["type"].text or kind
        return f"{place}for the {what} at {wait['address']}"

    def _owner(self, wait: ManifestValue) -> str:
        if wait["kind"].text not in _HAVE_OWNERS:
            return ""
        if wait["is_owner_gone"].text == "yes":
            return ", whose owner has ended"
        owner = wait["held_by"]
        if owner.known and owner.number == wait["tid"].number:
            return " that it holds itself"
        return f" held by {self.name(owner)}" if owner.known else ", whose owner is unknown"

    def _names(self, waits: list[ManifestValue]) -> str:
        names = [self._limited(wait) for wait in waits[:_MOST_NAMES]]
        more = f" and {len(waits) - _MOST_NAMES:,} more" if len(waits) > _MOST_NAMES else ""
        return ", ".join(names) + more

    def _limited(self, wait: ManifestValue) -> str:
        name = self.name(wait["tid"])
        return name if wait["forever"].text == "yes" else f"{name} (with a time limit)"

    def _place_of(self, wait: ManifestValue) -> str:
        return self._place(wait["tid"])

    def _place(self, tid: ManifestValue) -> str:
        row = self._threads.get(integer_of(tid), ManifestValue(None))
        if row["function"].text is None:
            return "no Python function"
        return f"{row['function']}, {row['file']}:{row['line']}"

    def _doing(self, tid: ManifestValue) -> str:
        row = self._threads.get(integer_of(tid), ManifestValue(None))
        if row["system_call"].known and row["state"].text != "waiting for the GIL":
            return f", in {row['system_call']}"
        return f", {row['state']}" if row["state"].known else ""

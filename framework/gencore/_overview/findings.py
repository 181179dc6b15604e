"""What stands out of a dump: each rule is a function of what was read, and one row of a table."""

from collections.abc import Callable, Iterator
from typing import Final, Literal

import attrs

from gencore._overview.limits import limits_in
from gencore._overview.places import Names, Place, Source
from gencore._quantities import show_size
from gencore.bundle.manifest import ManifestValue

__all__ = ["Facts", "Finding", "find"]

_LOCKS: Final = {"Lock": "a Lock", "RLock": "an RLock"}
_KNOWN_BY: Final = {
    "record": "the lock records its owner",
    "with": "its owner is in its with block",
}
_TRIGGERED: Final = {
    "gil": "the GIL was not given back for {:.3g} s before the dump",
    "loop": "an event loop did not run for {:.3g} s before the dump",
}
"""Triggers that say for how long something has gone on; see the manifest's `trigger`."""
_MUCH: Final = 64 << 20
"""Bytes: less is not worth a note."""
_MOST_OF_IT: Final = 0.5


@attrs.frozen(kw_only=True)
class Finding:
    """A sentence, what it stands on, and where to look on."""

    severity: Literal["problem", "note"]
    """A problem keeps the process from working; a note is only unusual."""
    sentence: str
    evidence: tuple[str, ...] = ()
    following: str | None = None
    """A command."""


@attrs.frozen(kw_only=True)
class Facts:
    """What the rules look at."""

    manifest: ManifestValue
    answer: ManifestValue
    """Of `gencore.analysis.answers.why`; unknown if the core could not be read."""
    names: Names
    source: Source
    bundle: str
    """How a command names it."""

    def command(self, words: str) -> str:
        """Return a command that reads the bundle."""
        return f"gencore {words} {self.bundle}"

    def at(self, thread: ManifestValue) -> str:
        """Return what a thread does where."""
        doing = thread["doing"].text or "in an unknown state"
        return f"{self.names(thread['tid'])} is {doing} at {self.place(thread['place'])}"

    def place(self, row: ManifestValue) -> str:
        """Return a place, and its line if the bundle has it."""
        place = Place.of(row, self.source)
        if place is None:
            return "an unknown place"
        return f"{place}: {place.source_line}" if place.source_line else str(place)


def find(facts: Facts) -> tuple[Finding, ...]:
    """Return what stands out, problems first."""
    found = (finding for rule in _RULES for finding in rule(facts))
    return tuple(sorted(found, key=lambda finding: finding.severity != "problem"))


def _deadlocks(facts: Facts) -> Iterator[Finding]:
    for waits in filter(None, (cycle.rows for cycle in facts.answer["deadlocks"])):
        holders = (*waits[1:], *waits[:1])
        clauses = (
            f"waits for {_LOCKS.get(wait['lock'].text or '', 'a lock')}"
            f" held by {facts.names(holder['tid'])}"
            for wait, holder in zip(waits, holders, strict=True)
        )
        yield Finding(
            severity="problem",
            sentence=f"deadlock: {facts.names(waits[0]['tid'])} {', which '.join(clauses)}",
            evidence=tuple(_wait(facts, wait) for wait in waits),
            following=facts.command("stacks"),
        )


def _wait(facts: Facts, wait: ManifestValue) -> str:
    known = _KNOWN_BY.get(wait["known_by"].text or "", "its owner is known")
    lock = f"the {wait['lock'].text or 'lock'} at {wait['address']}; {known}"
    return f"{facts.names(wait['tid'])} waits at {_place_of(facts, wait['tid'])} for {lock}"


def _place_of(facts: Facts, tid: ManifestValue) -> str:
    """Return where a thread is."""
    for group in facts.answer["threads"]["groups"]:
        if any(member.number == tid.number for member in group["tids"]):
            return str(Place.of(group["place"], facts.source) or "an unknown place")
    return "an unknown place"


def _blocked_loops(facts: Facts) -> Iterator[Finding]:
    for thread in facts.answer["threads"]["blocked_loops"]:
        yield Finding(
            severity="problem",
            sentence=f"the event loop of {facts.names(thread['tid'])} is blocked: "
            "no task runs before a call returns that is not awaited",
            evidence=(facts.at(thread), *_calls_below(facts, thread)),
            following=facts.command("stacks"),
        )


def _calls_below(facts: Facts, thread: ManifestValue) -> Iterator[str]:
    """Yield what a thread's place has called in the end, if it has called something."""
    for row in thread["frames"].rows[:1]:
        innermost = Place.of(row, facts.source)
        if innermost != Place.of(thread["place"], facts.source):
            yield f"what it has called is in {innermost}"


def _triggers(facts: Facts) -> Iterator[Finding]:
    trigger = facts.manifest["trigger"]
    kind, measured = trigger["kind"].text or "", trigger["measured"].amount
    holders = facts.answer["threads"]["gil"].rows
    if kind in _TRIGGERED and measured is not None:
        yield Finding(
            severity="problem",
            sentence=_TRIGGERED[kind].format(measured),
            evidence=tuple(f"{facts.at(holder)}, and holds the GIL" for holder in holders),
            following=facts.command("stacks --native"),
        )
    elif (reason := trigger["reason"].text) is not None:
        yield Finding(severity="note", sentence=f"the reason of the dump: {reason}")


def _limits(facts: Facts) -> Iterator[Finding]:
    for limit in limits_in(facts.manifest):
        if limit.near:
            used, most = (
                show_size(int(n)) if limit.unit else f"{n:,.0f}" for n in (limit.used, limit.limit)
            )
            yield Finding(
                severity="problem" if limit.fatal else "note",
                sentence=f"{limit.name}: {limit.share:.0%} of the limit is used",
                evidence=(f"{used} of {most}",),
                following=facts.command("info"),
            )


def _incomplete(facts: Facts) -> Iterator[Finding]:
    if flaw := facts.manifest["core"]["incomplete"].text:
        yield Finding(
            severity="note",
            sentence=f"the core is incomplete: {flaw}",
            following=facts.command("verify"),
        )
    failed = [*facts.manifest["status"]["failed"], *facts.manifest["status"]["skipped"]]
    if failed:
        yield Finding(
            severity="note",
            sentence=f"parts of the dump are missing: {len(failed):,}",
            evidence=tuple(f"{row['part']}: {row['reason']}" for row in failed[:3]),
            following=facts.command("info"),
        )


def _heap(facts: Facts) -> Iterator[Finding]:
    heap = facts.answer["heap"]
    total, memory = heap["all"]["size"].amount or 0, heap["memory"]
    pools = sum(memory[n].amount or 0 for n in ("objects_in_pools", "raw_in_pools"))
    free = memory["free_in_pools"].amount or 0
    for row in heap["largest"].rows[:1]:
        size = row["size"].amount or 0
        if size >= _MUCH and total and size >= total * _MOST_OF_IT:
            yield Finding(
                severity="note",
                sentence=f"one object has {size / total:.0%} of the bytes of all objects: "
                f"{_article(row['type_name'])} of {show_size(int(size))}",
                evidence=(f"it is at {int(row['address'].amount or 0):#x}",),
                following=facts.command("heap"),
            )
    if free >= _MUCH and free >= pools:
        yield Finding(
            severity="note",
            sentence="most of Python's small blocks are free, in pools that still have objects",
            evidence=(f"{show_size(int(free))} are free, {show_size(int(pools))} are in use",),
            following=facts.command("heap"),
        )


def _article(name: ManifestValue) -> str:
    text = str(name)
    return f"an {text}" if text[:1] in set("AEIOUaeiou") else f"a {text}"


_RULES: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    _deadlocks,
    _triggers,
    _blocked_loops,
    _limits,
    _heap,
    _incomplete,
)

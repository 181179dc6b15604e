"""What stands out of a dump: each rule is a function of what was read, and one row of a table."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final, Literal

import attrs

from gencore._overview.deadlock_sentence import deadlock_sentence
from gencore._overview.limits import limits_in
from gencore._overview.places import Names, Place, Source
from gencore._quantities import show_size
from gencore.bundle.manifest import ManifestValue

__all__ = ["Facts", "Finding", "find"]

_KNOWN_BY: Final = {
    "record": "the lock records its owner",
    "with": "its owner is in its with block",
}
_TRIGGERED: Final = {
    "gil": "the GIL was not given back for {:.3g} s before the dump",
    "loop": "an event loop did not run for {:.3g} s before the dump",
}
"""Triggers that say for how long something has gone on; see the manifest's `trigger`."""
_PIPE: Final = "-"
"""What stands for standard input, which is not there any more."""
_CONVOY: Final = 10
"""Threads that wait for one lock: fewer are not worth a note."""
_MOST_EVIDENCE: Final = 5
_MANY: Final = 100
"""Tasks: fewer are not worth a note."""
_MUCH: Final = 32 << 20
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

    def command(self, words: str) -> str | None:
        """Return a command that reads the bundle; None if that was read from a pipe."""
        return None if self.bundle == _PIPE else f"gencore {words} {self.bundle}"

    def at(self, thread: ManifestValue) -> str:
        """Return what a thread does where."""
        doing = thread["doing"].text or "in an unknown state"
        place = Place.of(thread["place"], self.source) or "an unknown place"
        return f"{self.names(thread['tid'])} is {doing} at {place}"

    def waiting(self, wait: ManifestValue) -> str:
        """Return where a thread waits."""
        return f"{self.names(wait['tid'])} waits at {_place_of(self, wait['tid'])}"

    def task(self, row: ManifestValue) -> str:
        """Return what a task does where."""
        place = Place.of(row["place"], self.source) or "an unknown place"
        return f"{row['name']} is {row['doing']} at {place}"


def find(facts: Facts) -> tuple[Finding, ...]:
    """Return what stands out, problems first."""
    found = (finding for rule in _RULES for finding in rule(facts))
    return tuple(sorted(found, key=lambda finding: finding.severity != "problem"))


def _deadlocks(facts: Facts) -> Iterator[Finding]:
    for waits in filter(None, (cycle.rows for cycle in facts.answer["deadlocks"])):
        names = [facts.names(wait["tid"]) for wait in waits]
        yield Finding(
            severity="problem",
            sentence=deadlock_sentence(names, [wait["kind"].text for wait in waits]),
            evidence=tuple(_wait(facts, wait) for wait in waits),
            following=facts.command("stacks"),
        )


def _wait(facts: Facts, wait: ManifestValue) -> str:
    if wait["kind"].text == "Thread":
        return f"{facts.waiting(wait)} for the end of {facts.names(wait['held_by'])}"
    known = _KNOWN_BY.get(wait["known_by"].text or "", "its owner is known")
    lock = f"the {wait['kind'].text or 'lock'} at {wait['address']}; {known}"
    return f"{facts.waiting(wait)} for {lock}"


def _place_of(facts: Facts, tid: ManifestValue) -> str:
    """Return where a thread is."""
    return str(Place.of(_group_of(facts, tid)["place"], facts.source) or "an unknown place")


def _group_of(facts: Facts, tid: ManifestValue) -> ManifestValue:
    """Return the group of threads that a thread is in."""
    for group in facts.answer["threads"]["groups"]:
        if any(member.number == tid.number for member in group["tids"]):
            return group
    return ManifestValue(None)


def _locks(facts: Facts) -> Iterator[Finding]:
    """Yield locks that nobody will release, and locks that very many threads wait for."""
    waits: dict[str, list[ManifestValue]] = defaultdict(list)
    for wait in facts.answer["waits"]:
        waits[str(wait["address"])].append(wait)
    for rows in waits.values():
        first, count = rows[0], len(rows)
        lock = f"the {first['kind']} at {first['address']}"
        if first["is_owner_gone"].text == "yes":
            yield Finding(
                severity="problem",
                sentence=f"{lock} will not be released: the thread that holds it has ended, and "
                f"{_threads(count)} for it",
                evidence=tuple(facts.waiting(wait) for wait in rows[:_MOST_EVIDENCE]),
                following=facts.command("locks"),
            )
        elif count >= _CONVOY and first["held_by"].known:
            holder = first["held_by"]
            doubt = ", or by a thread that has ended" * (first["known_by"].text == "identity")
            yield Finding(
                severity="note",
                sentence=f"{_threads(count)} for {lock}, held by {facts.names(holder)}{doubt}",
                evidence=(f"{facts.names(holder)} is at {_place_of(facts, holder)}",),
                following=facts.command("locks"),
            )


def _ended(facts: Facts) -> Iterator[Finding]:
    """Yield which thread keeps a process alive whose main program has ended."""
    for wait in facts.answer["waits"]:
        tid, other = wait["tid"], wait["held_by"]
        if wait["kind"].text == "Thread" and other.known and _is_shutting_down(facts, tid):
            names = facts.names(tid), facts.names(other)
            yield Finding(
                severity="note",
                sentence="the main program has ended: {} waits for the end of {}".format(*names),
                evidence=(f"{names[1]} is at {_place_of(facts, other)}",),
                following=facts.command("locks"),
            )


def _is_shutting_down(facts: Facts, tid: ManifestValue) -> bool:
    """Whether a thread began in the function that waits for all threads that are no daemons."""
    outermost = _group_of(facts, tid)["frames"].rows[-1:]
    return any(
        str(frame["function"]) == "_shutdown" and str(frame["file"]).endswith("/threading.py")
        for frame in outermost
    )


def _threads(count: int) -> str:
    return f"{count:,} thread{' waits' if count == 1 else 's wait'}"


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


def _waiting_tasks(facts: Facts) -> Iterator[Finding]:
    """Yield tasks that wait for each other."""
    for cycle in filter(None, (row.rows for row in facts.answer["tasks"]["cycles"])):
        names = [str(task["name"]) for task in cycle]
        yield Finding(
            severity="problem",
            sentence=f"tasks wait for each other: {names[0]} waits for "
            + ", which waits for ".join((*names[1:], names[0])),
            evidence=tuple(facts.task(task) for task in cycle),
            following=facts.command("tasks"),
        )


def _crowds(facts: Facts) -> Iterator[Finding]:
    """Yield places at which most of very many tasks are, or of very many greenlets."""
    for what in ("tasks", "greenlets"):
        of_all = facts.answer[what]["count"].amount or 0
        for group in facts.answer[what]["groups"]:
            count = group["count"].amount or 0
            if count >= max(_MANY, _MOST_OF_IT * of_all):
                yield Finding(
                    severity="note",
                    sentence=f"{count:,.0f} of {of_all:,.0f} {what} are at one line",
                    evidence=tuple(_evidence_of(facts, group)),
                    following=facts.command("tasks"),
                )


def _evidence_of(facts: Facts, group: ManifestValue) -> Iterator[str]:
    doing = ", ".join(pair.rows[0].text or "" for pair in group["doing"] if pair.rows)
    yield f"it is {Place.of(group['place'], facts.source) or 'unknown'} ({doing})"
    for task in group["behind"].rows[:1]:
        yield f"{task['count'].amount or 0:,.0f} of them wait for one task: {facts.task(task)}"


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


def _gil(facts: Facts) -> Iterator[Finding]:
    """Yield who holds the GIL that others wait for, unless a trigger has said it already."""
    threads = facts.answer["threads"]
    waiting = int(threads["waiting_for_gil"].amount or 0)
    if waiting and facts.manifest["trigger"]["kind"].text != "gil":
        for holder in threads["gil"]:
            yield Finding(
                severity="note",
                sentence=f"{_threads(waiting)} for the GIL, which {facts.names(holder['tid'])} "
                "held at the instant of the dump",
                evidence=(facts.at(holder),),
                following=facts.command("stacks --native"),
            )


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
    flaw = facts.answer["incomplete"].text or facts.manifest["core"]["incomplete"].text
    if flaw:
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
    if facts.answer["incomplete"].known:
        return  # a share of what is left is none of all
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
                evidence=(f"it is at {row['address'].address}",),
                following=facts.command("heap"),
            )
    if free >= _MUCH and free >= pools:
        yield Finding(
            severity="note",
            sentence="most of Python's small blocks are free, in pools that still have objects",
            evidence=(f"{show_size(int(free))} are free, {show_size(int(pools))} are in use",),
            following=facts.command("heap"),
        )


def _holders(facts: Facts) -> Iterator[Finding]:
    """Yield the object without which most of the memory would be free."""
    found = facts.answer["holders"]
    total = found["reachable"].amount or 0
    for row in found["holders"].rows[:1]:
        retained = row["retained"].amount or 0
        if retained >= _MUCH and total and retained >= total * _MOST_OF_IT:
            yield Finding(
                severity="note",
                sentence=f"{retained / total:.0%} of the bytes of all objects are kept alive by "
                f"{row['way']}",
                evidence=(
                    f"it is {_article(row['type'])} at {row['address'].address}",
                    f"without it {show_size(int(retained))} would be free",
                ),
                following=facts.command("heap --retained"),
            )


def _article(name: ManifestValue) -> str:
    text = str(name)
    return f"an {text}" if text[:1] in set("AEIOUaeiou") else f"a {text}"


_RULES: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    _deadlocks,
    _locks,
    _ended,
    _triggers,
    _gil,
    _blocked_loops,
    _waiting_tasks,
    _crowds,
    _limits,
    _holders,
    _heap,
    _incomplete,
)

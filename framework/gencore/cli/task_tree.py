"""Asyncio tasks and greenlets as text: of tasks a tree of who waits for whom; equal ones are one.

Tasks are equal if their frames are, and if they wait in the same function and the same way. Each
is shown once: where it is waited for again, there is only its name.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from gencore.cli.task_rows import GreenletRow, LinkRow, TaskRow, TaskRows

__all__ = ["greenlet_lines", "task_lines"]

_ENDED: Final = ("failed", "cancelled", "finished")
_INDENT: Final = "  "
_DEEPEST: Final = 30
"""Levels that are indented: below there is only more of the same."""
_MOST_NAMES: Final = 3
_MOST_ENTRIES: Final = 500
"""Of tasks, and of greenlets, unless each is asked for."""
_MOST_CYCLES, _LONGEST_CYCLE = 20, 10
"""Sentences, and tasks in one."""
_Row = TypeVar("_Row", TaskRow, GreenletRow)
_VERBS: Final = {
    "Lock": "waits for a Lock held by",
    "Semaphore": "waits for a Semaphore held by",
}


def task_lines(rows: TaskRows, *, each: bool) -> Iterator[str]:
    """Yield the lines; with *each* of them, no task shares an entry with another."""
    tree = _Tree(rows.tasks, each=each)
    of_loop: dict[str, list[TaskRow]] = defaultdict(list)
    for task in rows.tasks:
        of_loop[task.loop].append(task)
    for loop in rows.loops:
        own = of_loop[loop.address]
        thread = f"run by thread {loop.tid}" if loop.tid is not None else "not running"
        yield f"{loop.type} at {loop.address}, {thread}: {_summary(own)}"
        yield from tree.lines([task for task in own if task.state not in _ENDED])
        yield from _ended(own, each=each)
        yield ""
    tasks = {task.address: task for task in rows.tasks}
    yield from (_sentence(cycle, tasks) for cycle in rows.cycles[:_MOST_CYCLES])
    if len(rows.cycles) > _MOST_CYCLES:
        yield f"{len(rows.cycles) - _MOST_CYCLES:,} cycles more: --json has all"


def greenlet_lines(greenlets: Sequence[GreenletRow], *, each: bool) -> Iterator[str]:
    """Yield the lines of greenlets, if there are any."""
    if not greenlets:
        return
    yield _summary(greenlets, "greenlet")
    groups = _grouped(greenlets, lambda g: (g.address if each else g.type, g.state, g.frames))
    for group in groups if each else groups[:_MOST_ENTRIES]:
        count = f"{len(group):,} greenlets: " if len(group) > 1 else ""
        places = _listed([greenlet.address for greenlet in group])
        yield f"{_INDENT}{count}{group[0].type} at {places} [{group[0].state}]"
        yield from (f"{_INDENT}    {line}" for line in _frames(group[0], "outer"))
    hidden = 0 if each else sum(map(len, groups[_MOST_ENTRIES:]))
    yield from _more(hidden, "greenlets")
    yield ""


def _more(hidden: int, what: str) -> Iterator[str]:
    if hidden:
        yield f"{_INDENT}{hidden:,} {what} more: --all shows each"


def _summary(rows: Sequence[TaskRow | GreenletRow], what: str = "task") -> str:
    states = Counter(row.state for row in rows)
    shown = ", ".join(f"{count:,} {state}" for state, count in states.most_common())
    number = f"{len(rows):,} {what}{'s' * (len(rows) != 1)}"
    return f"{number} ({shown})" if rows else number


class _Tree:
    """The pending tasks of all loops, each of which is shown once."""

    def __init__(self, tasks: Iterable[TaskRow], *, each: bool) -> None:
        self._tasks = {task.address: task for task in tasks}
        self._places = {address: place for place, address in enumerate(self._tasks)}
        self._key: Callable[[TaskRow], Hashable] = (lambda task: task.address) if each else _key
        self._shown: set[str] = set()
        self._left = len(self._tasks) if each else _MOST_ENTRIES

    def lines(self, tasks: Sequence[TaskRow]) -> Iterator[str]:
        """Yield a tree from each task that nobody waits for, then of those that are left."""
        awaited = {link.task for task in self._tasks.values() for link in task.awaits}
        yield from self._trees(_grouped((t for t in tasks if t.address not in awaited), self._key))
        for task in tasks:
            if task.address not in self._shown:
                yield from self._trees([[task]])
        yield from _more(sum(task.address not in self._shown for task in tasks), "tasks")

    def _trees(self, groups: Iterable[Sequence[TaskRow]]) -> Iterator[str]:
        """Yield groups and, below each, those that it waits for: a stack, not a recursion."""
        todo = [(group, 1, "") for group in reversed(list(groups))]
        while todo and self._left:
            group, depth, through = todo.pop()
            indent = _INDENT * min(depth, _DEEPEST)
            new = [task for task in group if task.address not in self._shown]
            if not new:
                yield f"{indent}{through}{_names(group)}: shown above"
                continue
            self._shown.update(task.address for task in new)
            self._left -= 1
            yield f"{indent}{through}{_heading(new)}"
            yield from (f"{indent}    {line}" for line in _frames(new[0]))
            todo += [(inner, depth + 1, kind) for kind, inner in reversed(self._awaited(new))]

    def _awaited(self, group: Sequence[TaskRow]) -> list[tuple[str, Sequence[TaskRow]]]:
        """Return those that a group waits for, in groups, and through what."""
        through: dict[str | None, set[str]] = defaultdict(set)
        for link in (link for task in group for link in task.awaits):
            if link.task in self._tasks:
                through[link.through].add(link.task)
        return [
            (f"{kind}: " if kind else "", inner)
            for kind, addresses in through.items()
            for inner in _grouped(
                (self._tasks[at] for at in sorted(addresses, key=self._places.__getitem__)),
                self._key,
            )
        ]


def _key(task: TaskRow) -> Hashable:
    function = task.awaited.function if task.awaited else None
    through = tuple(sorted({link.through or "" for link in task.awaits}))
    return task.state, task.frames, function, through, task.cancel_requests > 0, task.incomplete


def _grouped(rows: Iterable[_Row], key: Callable[[_Row], Hashable]) -> list[Sequence[_Row]]:
    groups: dict[Hashable, list[_Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return list(groups.values())


def _heading(group: Sequence[TaskRow]) -> str:
    first = group[0]
    count = f"{len(group):,} tasks: " if len(group) > 1 else ""
    asked = ", asked to cancel" if first.cancel_requests else ""
    return f"{count}{_names(group)} [{_doing(group)}{asked}]"


def _names(group: Sequence[TaskRow]) -> str:
    return _listed([task.name for task in group])


def _listed(names: list[str]) -> str:
    if len(names) > _MOST_NAMES:
        names = [*names[: _MOST_NAMES - 1], "...", names[-1]]
    return ", ".join(names)


def _doing(group: Sequence[TaskRow]) -> str:
    """Return what tasks do, with what is said of each only if it is the same of all."""
    awaited = group[0].awaited
    if awaited is None:
        return group[0].state
    same = {task.awaited for task in group} == {awaited}
    where = f" of {awaited.type} at {awaited.address}" if same and awaited.address else ""
    details = {task.awaited.detail for task in group if task.awaited}
    detail = f": {awaited.detail}" if len(details) == 1 and awaited.detail else ""
    return f"waiting in {awaited.function}{where}{detail}"


def _frames(row: TaskRow | GreenletRow, missing: str = "inner") -> Iterator[str]:
    for frame in row.frames:
        yield f'File "{frame.file}", line {frame.line}, in {frame.function}'
        if frame.source_line is not None:
            yield f"    {frame.source_line}"
    if row.incomplete is not None:
        yield f"({missing} frames are unknown: {row.incomplete})"


def _ended(tasks: Sequence[TaskRow], *, each: bool) -> Iterator[str]:
    """Yield those that have ended, by how; *each* by itself."""
    ended = [task for task in tasks if task.state in _ENDED]
    groups = _grouped(ended, lambda t: t.address if each else (t.state, t.exception))
    for group in groups:
        first = group[0]
        count = f"{len(group):,} tasks: " if len(group) > 1 else ""
        reason = f": {first.exception}" if first.exception else ""
        yield f"{_INDENT}{count}{_names(group)} [{first.state}{reason}]"


def _sentence(cycle: Sequence[str], tasks: Mapping[str, TaskRow]) -> str:
    def label(task: str) -> str:
        return tasks[task].name if task in tasks else f"{task:#x}"

    clauses = []
    followers = (*cycle[1:], *cycle[:1])
    for task, following in list(zip(cycle, followers, strict=True))[:_LONGEST_CYCLE]:
        links: Sequence[LinkRow] = tasks[task].awaits if task in tasks else ()
        through = next((link.through for link in links if link.task == following), None)
        verb = _VERBS.get(through or "", "waits for")
        clauses.append(f"{verb} {label(following)}")
    left = len(cycle) - len(clauses)
    rest = f", and so on: {left:,} tasks more" if left else ""
    return f"cycle: {label(cycle[0])} {', which '.join(clauses)}{rest}" if cycle else "cycle"

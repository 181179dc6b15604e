"""The tree of tasks as text: bounded, whatever the tasks are and however they wait."""

import pytest

from gencore.cli.task_rows import (
    AwaitedRow,
    FrameRow,
    GreenletRow,
    LinkRow,
    LoopRow,
    TaskRow,
    TaskRows,
)
from gencore.cli.task_tree import greenlet_lines, task_lines

LOOP = LoopRow(address="0x100", type="asyncio.Loop", tid=7)


def frame(function, source=None):
    return FrameRow(function=function, file="app.py", line=3, source_line=source)


def task(address, *awaits, state="waiting", function="handle", through=None, **others):
    row = {"exception": None, "cancel_requests": 0, "incomplete": None, "awaited": None, **others}
    return TaskRow(
        address=hex(address),
        name=f"Task-{address}",
        loop=LOOP.address,
        state=state,
        frames=(frame(function),) if function else (),
        awaits=tuple(LinkRow(task=hex(other), through=through) for other in awaits),
        **row,
    )


def lines(*tasks, each=False, cycles=()):
    places = tuple(tuple(map(hex, cycle)) for cycle in cycles)
    found = {"loops": (LOOP,), "tasks": tasks, "cycles": places, "greenlets": ()}
    rows = TaskRows(python="3.13", incomplete=None, **found)
    return list(task_lines(rows, each=each))


def headings(shown):
    return [line for line in shown[1:] if line and "File" not in line]


def test_tasks_that_wait_in_the_same_place_are_one_entry():
    """With their number, and some of their names."""
    shown = lines(*(task(n) for n in range(1, 1001)), task(2000, function="other"))

    assert shown[0] == "asyncio.Loop at 0x100, run by thread 7: 1,001 tasks (1,001 waiting)"
    assert headings(shown) == [
        "  1,000 tasks: Task-1, Task-2, ..., Task-1000 [waiting]",
        "  Task-2000 [waiting]",
    ]
    assert shown[2] == '      File "app.py", line 3, in handle'


def test_each_task_is_an_entry_if_that_is_asked_for():
    """Equal ones too."""
    assert len(headings(lines(*(task(n) for n in range(1, 1001)), each=True))) == 1000


def test_what_equal_tasks_wait_for_is_below_them_all():
    """In groups again."""
    parents = [task(n, n + 10, through="gather") for n in range(1, 4)]
    children = [task(n, function="child") for n in range(11, 14)]

    assert headings(lines(*parents, *children)) == [
        "  3 tasks: Task-1, Task-2, Task-3 [waiting]",
        "    gather: 3 tasks: Task-11, Task-12, Task-13 [waiting]",
    ]


def test_a_task_that_two_wait_for_is_shown_once():
    """Then only its name."""
    shown = lines(task(1, 3), task(2, 3, function="other"), task(3, function="child"))

    assert headings(shown) == [
        "  Task-1 [waiting]",
        "    Task-3 [waiting]",
        "  Task-2 [waiting]",
        "    Task-3: shown above",
    ]


def test_a_cycle_is_shown_and_named():
    """Although each of its tasks is waited for."""
    shown = lines(task(1, 2), task(2, 1, through="Lock"), cycles=((1, 2),))

    assert headings(shown)[:3] == [
        "  Task-1 [waiting]",
        "    Task-2 [waiting]",
        "      Lock: Task-1: shown above",
    ]
    assert shown[-1] == "cycle: Task-1 waits for Task-2, which waits for a Lock held by Task-1"


def test_entries_and_cycles_are_limited():
    """Unless each is asked for: then what is left is a number."""
    many = [task(n, function=f"f{n}") for n in range(2000)]

    assert len(headings(lines(*many, each=True))) == 2000
    assert headings(lines(*many))[-1] == "  1,500 tasks more: --all shows each"
    assert len(headings(lines(*many))) == 501
    last = lines(*many[:30], cycles=tuple((n,) for n in range(30)))[-2:]
    assert last == ["cycle: Task-19 waits for Task-19", "10 cycles more: --json has all"]
    (whole,) = (line for line in lines(*many, cycles=(range(2000),)) if "cycle" in line)
    assert whole.endswith("Task-9, which waits for Task-10, and so on: 1,990 tasks more")


def test_a_long_chain_is_indented_within_limits():
    """Neither recursion nor a line that only has spaces."""
    count = 5000
    shown = lines(*(task(n, n + 1, function=f"f{n}") for n in range(count)), each=True)

    assert len(headings(shown)) == count
    assert max(map(len, shown)) < 150


def test_what_is_said_of_a_group_holds_for_all_of_it():
    """An object or its details only if they are the same."""
    rows = [
        AwaitedRow(
            function="Queue.get", type="asyncio.Queue", address=hex(at), detail=f"items={n}"
        )
        for at, n in ((16, 0), (16, 0), (32, 0), (48, 1))
    ]
    shown = [
        headings(lines(*(task(n, awaited=r) for n, r in enumerate(some))))
        for some in (
            rows[:1],
            rows[:2],
            rows[:3],
            rows,
        )
    ]

    assert shown == [
        ["  Task-0 [waiting in Queue.get of asyncio.Queue at 0x10: items=0]"],
        ["  2 tasks: Task-0, Task-1 [waiting in Queue.get of asyncio.Queue at 0x10: items=0]"],
        ["  3 tasks: Task-0, Task-1, Task-2 [waiting in Queue.get: items=0]"],
        ["  4 tasks: Task-0, Task-1, ..., Task-3 [waiting in Queue.get]"],
    ]


def test_ended_tasks_are_apart():
    """After those that are pending, with the exceptions of those that failed."""
    error = "LookupError('x')"
    ended = [task(n, state="failed", function=None, exception=error) for n in (1, 2)]

    assert headings(lines(*ended, task(3), task(4, state="cancelled", function=None))) == [
        "  Task-3 [waiting]",
        f"  2 tasks: Task-1, Task-2 [failed: {error}]",
        "  Task-4 [cancelled]",
    ]


def test_a_task_that_was_asked_to_cancel_is_said_to_be():
    """It is not equal to others."""
    shown = lines(task(1), task(2, cancel_requests=1))

    assert headings(shown) == ["  Task-1 [waiting]", "  Task-2 [waiting, asked to cancel]"]


@pytest.mark.parametrize("source", ["await x()", None])
def test_lines_of_the_source_are_shown_if_the_bundle_has_them(source):
    """And why inner frames are missing."""
    row = task(1, incomplete="memory is missing", function=None)
    row = TaskRow(
        **{name: getattr(row, name) for name in row.__slots__ if name[0] != "_"}
        | {"frames": (frame("f", source),)}
    )

    shown = lines(row)

    assert (f"          {source}" in shown) == (source is not None)
    assert "      (inner frames are unknown: memory is missing)" in shown


def test_greenlets_are_grouped_too():
    """Those of one type and state, with the same stack."""
    kinds = [("suspended", "f"), ("suspended", "f"), ("running", None)]
    rows = [
        GreenletRow(
            address=hex(n),
            type="greenlet.greenlet",
            state=state,
            frames=(frame(function),) if function else (),
            incomplete=None,
        )
        for n, (state, function) in enumerate(kinds)
    ]

    assert list(greenlet_lines(rows, each=False)) == [
        "3 greenlets (2 suspended, 1 running)",
        "  2 greenlets: greenlet.greenlet at 0x0, 0x1 [suspended]",
        '      File "app.py", line 3, in f',
        "  greenlet.greenlet at 0x2 [running]",
        "",
    ]
    assert len(list(greenlet_lines(rows, each=True))) == 7
    assert list(greenlet_lines([], each=True)) == []

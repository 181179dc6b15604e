"""What an overview says of a manifest and of an answer about a core, whatever is in them."""

import copy
import math

import pytest

from gencore._overview import make_overview

PLACE = "reserve (/srv/orders.py:12)"
GONE = "will not be released: the thread that holds it has ended"
NO_TASK = "no task runs before a call returns that is not awaited"
FRAME = {"function": "reserve", "file": "/srv/orders.py", "line": 12}
CALLED = {"function": "wait", "file": "/lib/threading.py", "line": 7}
HELD = {"tid": 7, "place": FRAME, "doing": "running", "frames": [FRAME]}
ANSWER = {
    "version": [3, 13, 1],
    "threads": {
        "groups": [
            {
                "tids": [7, 8],
                "own": True,
                "place": FRAME,
                "doing": [["in futex", 2]],
                "frames": [FRAME],
            }
        ],
        "gil": [HELD],
        "waiting_for_gil": 1,
        "blocked_loops": [HELD | {"frames": [CALLED, FRAME]}],
    },
    "deadlocks": [
        [
            {"tid": 7, "kind": "Lock", "address": "0x1000", "held_by": 8, "known_by": "with"},
            {"tid": 8, "kind": "RLock", "address": "0x2000", "held_by": 7, "known_by": "record"},
        ]
    ],
    "waits": [
        {"tid": 9, "kind": "RLock", "address": "0x3000", "held_by": None, "is_owner_gone": True},
        *(
            {"tid": tid, "kind": "Lock", "address": "0x4000", "held_by": 7, "is_owner_gone": False}
            for tid in range(20, 32)
        ),
    ],
    "tasks": {
        "count": 150,
        "groups": [
            {
                "count": 120,
                "names": ["Task-1", "Task-2"],
                "own": True,
                "place": FRAME,
                "doing": [["in Lock.acquire", 120]],
                "frames": [FRAME],
                "behind": [{"name": "owner", "place": FRAME, "doing": "in sleep", "count": 120}],
            }
        ],
        "cycles": [
            [
                {"name": "left", "place": FRAME, "doing": "waiting"},
                {"name": "right", "place": None, "doing": "in Lock.acquire"},
            ]
        ],
    },
    "requests": [
        {
            "protocol": "WSGI",
            "method": "GET",
            "target": "/a",
            "tid": 7,
            "place": FRAME,
            "address": 1,
        }
    ],
    "heap": {
        "types": [{"name": "dict", "count": 5, "size": 500}],
        "largest": [{"type_name": "dict", "address": 1, "size": 400 << 20}],
        "all": {"count": 5, "size": 500 << 20},
        "memory": {"objects_in_pools": 1 << 20, "raw_in_pools": 0, "free_in_pools": 80 << 20},
    },
    "holders": {
        "reachable": 500 << 20,
        "holders": [
            {"way": "module shop: CACHE", "type": "dict", "address": 4096, "retained": 450 << 20}
        ],
    },
    "packages": {"django": "5.2"},
    "missing": {"tasks": "unsupported"},
}
MANIFEST = {
    "created_at": "2026-11-24T04:04:19.425838Z",
    "trigger": {"kind": "gil", "measured": 12.5, "unit": "seconds", "reason": "the GIL stalls"},
    "core": {"content": "full", "incomplete": "truncated"},
    "status": {"failed": [{"part": "libraries", "reason": "no space"}], "skipped": []},
    "process": {
        "pid": 7,
        "threads": 90,
        "open_fds": 1000,
        "rss_bytes": 1,
        "limits": {"nofile": {"soft": 1024, "hard": 1024}},
        "executable": {"name": "python3"},
    },
    "container": {"pids": {"max": 200}, "memory": {"current_bytes": 95, "max_bytes": 100}},
    "host": {"name": "web-1", "memory_total_bytes": 1 << 30},
    "service": {"name": "orders"},
    "threads": [
        {"tid": 7, "python": {"name": "one", "frames": [FRAME]}},
        {"tid": 8, "python": {"name": "two", "frames": [FRAME]}},
        {"tid": 9, "name": "native", "python": None},
    ],
}


def overview(manifest=MANIFEST, answer=ANSWER):
    return make_overview(manifest, answer, lambda *_: "with second:", "B")


def test_sentences_have_their_evidence_and_problems_come_first():
    """Each is of a rule, with the numbers and names that were read."""
    findings = [(row.severity, row.sentence, row.evidence) for row in overview().findings]

    assert findings == [
        (
            "problem",
            "deadlock: one waits for a Lock held by two, which waits for an RLock held by one",
            (
                f"one waits at {PLACE} for the Lock at 0x1000; its owner is in its with block",
                f"two waits at {PLACE} for the RLock at 0x2000; the lock records its owner",
            ),
        ),
        (
            "problem",
            f"the RLock at 0x3000 {GONE}, and 1 thread waits for it",
            ("native waits at an unknown place",),
        ),
        (
            "problem",
            "the GIL was not given back for 12.5 s before the dump",
            ("one is running at reserve (/srv/orders.py:12), and holds the GIL",),
        ),
        (
            "problem",
            f"the event loop of one is blocked: {NO_TASK}",
            (
                "one is running at reserve (/srv/orders.py:12)",
                "what it has called is in wait (/lib/threading.py:7)",
            ),
        ),
        (
            "problem",
            "tasks wait for each other: left waits for right, which waits for left",
            (f"left is waiting at {PLACE}", "right is in Lock.acquire at an unknown place"),
        ),
        ("problem", "open files: 98% of the limit is used", ("1,000 of 1,024",)),
        (
            "note",
            "12 threads wait for the Lock at 0x4000, held by one",
            (f"one is at {PLACE}",),
        ),
        (
            "note",
            "120 of 150 tasks are at one line",
            (
                f"it is {PLACE} (in Lock.acquire)",
                f"120 of them wait for one task: owner is in sleep at {PLACE}",
            ),
        ),
        (
            "note",
            "memory of the cgroup, its page cache included: 95% of the limit is used",
            ("95 B of 100 B",),
        ),
        (
            "note",
            "90% of the bytes of all objects are kept alive by module shop: CACHE",
            ("it is a dict at 0x1000", "without it 450 MiB would be free"),
        ),
        (
            "note",
            "one object has 80% of the bytes of all objects: a dict of 400 MiB",
            ("it is at 0x1",),
        ),
        (
            "note",
            "most of Python's small blocks are free, in pools that still have objects",
            ("80 MiB are free, 1 MiB are in use",),
        ),
        ("note", "the core is incomplete: truncated", ()),
        ("note", "parts of the dump are missing: 1", ("libraries: no space",)),
    ]


def test_without_a_core_the_recorded_stacks_are_grouped():
    """And nothing is claimed of what only a core has."""
    shown = overview(answer=None)

    assert [(group.count, group.own) for group in shown.groups] == [(2, True), (1, False)]
    assert shown.groups[0].names == ("one", "two")
    assert (shown.gil, shown.heap, shown.requests) == (None, None, ())
    assert not any("deadlock" in finding.sentence for finding in shown.findings)


def test_a_core_of_stacks_has_no_heap():
    """What the census finds there is a part that nobody chose."""
    shown = overview({**MANIFEST, "core": {"content": "stacks"}})

    assert shown.heap is None
    assert shown.missing["heap"] == "the core has the content stacks"


def test_names_that_several_threads_have_get_their_tid():
    """Or a sentence would not say which it is."""
    manifest = copy.deepcopy(MANIFEST)
    manifest["threads"][1]["python"]["name"] = "one"

    assert overview(manifest).groups[0].names == ("one (7)", "one (8)")


@pytest.mark.parametrize(
    ("argv", "program"),
    [
        (["python3", "/srv/shop.py", "[redacted]"], "shop.py"),
        (["python3", "-X", "[redacted]", "/venv/bin/gunicorn", "--bind"], "gunicorn"),
        (["python3", "-m", "orders"], "orders"),
        (["python3", "-c", "[redacted]"], "python3"),
        ([], "python3"),
    ],
)
def test_a_program_is_called_as_its_script(argv, program):
    """Its interpreter is the same for all."""
    manifest = copy.deepcopy(MANIFEST)
    manifest["process"]["argv"] = argv

    assert overview(manifest).subject.program == program


def places(value, path=()):
    """Yield the path of every value, containers too."""
    yield path
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(below, (*path, key))


def replaced(whole, path, odd):
    """Return a copy with one value replaced."""
    changed = copy.deepcopy(whole)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = odd
    return changed


@pytest.mark.parametrize(
    "odd",
    [None, True, -1, 10**400, math.nan, "\x1b", [], {}, [None, [[]]]],
    ids=lambda odd: ascii(odd)[:20],
)
def test_no_odd_value_keeps_an_overview_from_being_made(odd):
    """Each value of the manifest and of the answer is replaced in turn."""
    for path in filter(None, places(MANIFEST)):
        overview(manifest=replaced(MANIFEST, path, odd))
    for path in filter(None, places(ANSWER)):
        overview(answer=replaced(ANSWER, path, odd))


def found(answer, manifest=None, bundle="B"):
    """Return the findings in an answer that lacks all else."""
    return make_overview(manifest or {}, answer, lambda *_: None, bundle).findings


def test_the_gil_is_a_note_if_threads_wait_for_it():
    """Who has it at the instant may give it back soon: it is unusual only if others want it."""
    holder = {"tid": 7, "place": FRAME, "doing": "running", "frames": []}
    names = {"names": {"7": "one"}}

    (note,) = found({"threads": {"gil": [holder], "waiting_for_gil": 1}, **names})

    held = "1 thread waits for the GIL, which one held at the instant of the dump"
    assert (note.severity, note.sentence) == ("note", held)
    assert note.following == "gencore stacks --native B"
    assert found({"threads": {"gil": [holder], "waiting_for_gil": 0}, **names}) == ()


def test_a_thread_may_wait_for_itself_or_for_the_end_of_another():
    """A Lock that is taken twice has no second thread; the end of a thread no record."""
    twice = {"tid": 7, "kind": "Lock", "address": "0x1000", "held_by": 7, "known_by": "with"}
    joins = {"tid": 7, "kind": "Thread", "address": "0x1", "held_by": 8, "known_by": "record"}
    waits = {**twice, "tid": 8}
    names = {"names": {"7": "one", "8": "two"}}

    first, second = found({"deadlocks": [[twice], [joins, waits]], **names})

    assert first.sentence == "deadlock: one waits for a Lock that it holds itself"
    assert second.evidence[0] == "one waits at an unknown place for the end of two"


def test_what_was_read_from_a_pipe_has_no_next_command():
    """It is not there any more."""
    twice = {"tid": 7, "lock": "Lock", "address": "0x1000", "held_by": 7, "known_by": "with"}

    (problem,) = found({"deadlocks": [[twice]]}, bundle="-")

    assert problem.following is None


def test_an_incomplete_core_has_no_shares():
    """What keeps most alive, and which part of all it is, rests on what is missing."""
    answer = {**ANSWER, "incomplete": "the core is truncated", "waits": []}

    shown = make_overview({}, answer, lambda *_: None, "B")

    sentences = " ".join(finding.sentence for finding in shown.findings)
    assert "of the bytes of all objects" not in sentences
    assert "most of Python's small blocks" not in sentences
    assert "the core is incomplete: the core is truncated" in sentences
    assert shown.missing["waits"] == shown.missing["holders"] == shown.incomplete

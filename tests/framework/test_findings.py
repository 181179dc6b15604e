"""Where findings begin: what is just enough for a sentence, and what is just too little."""

import pytest

from gencore._overview import make_overview

MIB = 1 << 20
FRAME = {"function": "reserve", "file": "/srv/orders.py", "line": 12}
CALLED = {"function": "wait", "file": "/lib/threading.py", "line": 7}


def found(manifest=None, **answer):
    """Return the findings of what a manifest and an answer have."""
    return make_overview(manifest or {}, answer, lambda *_: None, "B").findings


def sentences(manifest=None, **answer):
    return [(row.severity, row.sentence) for row in found(manifest, **answer)]


def waits(count, address="0x1", **others):
    """Return the waits of so many threads for one lock."""
    row = {"kind": "Lock", "address": address, "held_by": 7, "is_owner_gone": False, **others}
    return [{"tid": tid, **row} for tid in range(100, 100 + count)]


def test_of_nothing_nothing_is_found():
    """Neither of an empty dump, nor of one in which all is well."""
    sound = {"core": {"incomplete": None}, "status": {"failed": [], "skipped": []}}

    assert found() == ()
    assert found({**sound, "trigger": {"kind": "api", "reason": None}}, waits=waits(1)) == ()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (waits(9), []),
        (waits(10), ["10 threads wait for the Lock at 0x1, held by thread 7"]),
        (waits(10, held_by=None), []),
        (waits(9) + waits(9, "0x2"), []),
        (
            waits(1, is_owner_gone=True) + waits(1, "0x2", is_owner_gone=True),
            [
                f"the Lock at {at} will not be released: the thread that holds it has ended, and "
                "1 thread waits for it"
                for at in ("0x1", "0x2")
            ],
        ),
    ],
)
def test_a_lock_is_named_if_ten_wait_for_one_owner_or_it_has_none(rows, said):
    """Each lock for itself, and by whom it is held if that is known."""
    assert [row.sentence for row in found(waits=rows)] == said


def test_of_those_who_wait_for_a_lost_lock_five_are_shown():
    """The sentence has their number."""
    (finding,) = found(waits=waits(9, is_owner_gone=True))

    assert "9 threads wait" in finding.sentence
    assert len(finding.evidence) == 5


@pytest.mark.parametrize(("frames", "lines"), [([FRAME, CALLED], 1), ([CALLED, CALLED, FRAME], 2)])
def test_what_blocks_a_loop_is_named_if_it_is_another_function(frames, lines):
    """The innermost one, and only that."""
    thread = {"tid": 7, "place": FRAME, "doing": "running", "frames": frames}
    (finding,) = found(threads={"blocked_loops": [thread]})

    assert len(finding.evidence) == lines


@pytest.mark.parametrize(
    ("count", "of_all", "notes"), [(99, 99, 0), (100, 100, 1), (100, 200, 1), (100, 201, 0)]
)
def test_tasks_at_one_line_are_a_note_if_they_are_many_and_half_of_all(count, of_all, notes):
    """And one of the tasks for which they wait."""
    behind = [{"name": name, "place": None, "doing": "waiting", "count": 9} for name in "ab"]
    group = {"count": count, "place": FRAME, "doing": [["waiting", count]], "behind": behind}
    shown = found(tasks={"count": of_all, "groups": [group], "cycles": []})

    assert [len(row.evidence) for row in shown] == [2] * notes


def test_the_reason_of_a_dump_is_a_note():
    """Unless it says for how long something has stood still: that is a problem."""
    api = {"trigger": {"kind": "api", "reason": "too slow", "measured": 3}}

    assert sentences(api) == [("note", "the reason of the dump: too slow")]


def limits(used, most):
    return {"process": {"open_fds": used, "limits": {"nofile": {"soft": most}}}}


@pytest.mark.parametrize(
    ("used", "most", "said"),
    [(79, 100, []), (80, 100, ["80%"]), (85, 100, ["85%"]), (5, 0, []), (5, None, []), (0, 9, [])],
)
def test_a_limit_is_near_from_four_fifths_on(used, most, said):
    """One that is not set, or 0, is none."""
    expected = [("problem", f"open files: {share} of the limit is used") for share in said]
    assert sentences(limits(used, most)) == expected


def test_the_limit_that_is_nearest_comes_first():
    """Of those with the same severity."""
    manifest = limits(90, 100)
    manifest["process"] |= {"threads": 95}
    manifest["container"] = {"pids": {"max": 100}}

    names = [sentence.partition(":")[0] for _, sentence in sentences(manifest)]
    assert names == ["threads of the cgroup", "open files"]


def test_parts_that_failed_and_that_were_skipped_are_counted():
    """Three are named."""
    rows = [{"part": name, "reason": "no space"} for name in "abcd"]
    (finding,) = found({"status": {"failed": rows[:2], "skipped": rows[2:]}})

    assert finding.sentence == "parts of the dump are missing: 4"
    assert finding.evidence == ("a: no space", "b: no space", "c: no space")


@pytest.mark.parametrize(
    ("retained", "reachable", "notes"),
    [(32, 64, 1), (31, 32, 0), (32, 65, 0), (32, 0, 0)],
)
def test_what_keeps_half_of_much_memory_alive_is_a_note(retained, reachable, notes):
    """The largest of those that do; numbers are MiB."""
    row = {"way": "module a: b", "type": "Order", "address": 1, "retained": retained * MIB}
    shown = found(holders={"reachable": reachable * MIB, "holders": [row, row]})

    assert [row.evidence[0] for row in shown] == ["it is an Order at 0x1"] * notes


@pytest.mark.parametrize(("size", "total", "notes"), [(32, 64, 1), (31, 32, 0), (32, 65, 0)])
def test_an_object_with_half_of_much_memory_is_a_note(size, total, notes):
    """The largest of all; numbers are MiB."""
    row = {"type_name": "dict", "address": 1, "size": size * MIB}
    shown = found(heap={"largest": [row, row], "all": {"size": total * MIB}, "memory": {}})

    assert [row.evidence[0] for row in shown] == ["it is at 0x1"] * notes


@pytest.mark.parametrize(
    ("free", "objects", "raw", "notes"), [(32, 16, 16, 1), (31, 0, 0, 0), (32, 16, 17, 0)]
)
def test_pools_that_are_mostly_free_are_a_note(free, objects, raw, notes):
    """If it is much; numbers are MiB."""
    memory = {"free_in_pools": free, "objects_in_pools": objects, "raw_in_pools": raw}
    memory = {name: size * MIB for name, size in memory.items()}

    assert len(found(heap={"largest": [], "all": {"size": 0}, "memory": memory})) == notes


def test_each_finding_says_what_to_type_next():
    """A command that shows more of what the sentence is about."""
    thread = {"tid": 7, "place": FRAME, "doing": "running", "frames": [FRAME]}
    wait = {"tid": 7, "kind": "Lock", "address": "0x1", "held_by": 7}
    task = {"name": "a", "place": FRAME, "doing": "waiting"}
    cases = {
        "gencore stacks B": {"deadlocks": [[wait]]},
        "gencore locks B": {"waits": waits(10)},
        "gencore tasks B": {"tasks": {"count": 1, "groups": [], "cycles": [[task]]}},
        "gencore heap --retained B": {
            "holders": {"reachable": 64 * MIB, "holders": [{"retained": 64 * MIB}]}
        },
    }

    shown = {command: found(**answer)[0].following for command, answer in cases.items()}
    assert shown == {command: command for command in cases}
    (blocked,) = found(threads={"blocked_loops": [thread]})
    assert blocked.following == "gencore stacks B"
    (lost,) = found(waits=waits(1, is_owner_gone=True))
    assert lost.following == "gencore locks B"
    (stalled,) = found({"trigger": {"kind": "gil", "measured": 3.0}})
    assert stalled.following == "gencore stacks --native B"
    (near,) = found(limits(9, 10))
    assert near.following == "gencore info B"

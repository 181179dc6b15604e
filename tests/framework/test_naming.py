"""Names of dumps: templates, made harmless, never replacing anything."""

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gencore
from gencore import naming
from gencore.testing import SimulatedBackend

INSTANT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def run(tmp_path, name):
    return gencore.Pipeline(
        backend=SimulatedBackend(), collectors=["raw"], directory=tmp_path, name=name
    ).run()


def test_every_field_is_filled_in(tmp_path, monkeypatch):
    """With what it stands for."""
    monkeypatch.setenv("POD_NAME", "orders-7f9c")
    monkeypatch.setattr("platform.node", lambda: "node.example")
    name = naming.dump_name("{pid} {exe} {host} {time} {id} {pod}", INSTANT, "the-id")

    exe = Path(sys.executable).name
    expected = f"{os.getpid()}_{exe}_node.example_20260102.030405_the-id_orders-7f9c"
    assert name == expected
    assert re.fullmatch(r"a\.\d{3,}", naming.dump_name("a.{seq}", INSTANT, ""))
    report = run(tmp_path, "orders-{pod}-{id}")
    assert [path.name for path in tmp_path.iterdir()] == [f"{report.name}.core"]
    assert report.name.startswith("orders-orders-7f9c-")


def test_the_default_sorts_by_time(tmp_path):
    """And tells process and number apart."""
    report = run(tmp_path, None)

    assert re.fullmatch(rf"core_\d{{8}}\.\d{{6}}\.{os.getpid()}\.\d{{3,}}", report.name)


def test_dumps_of_another_process_in_one_second_have_names_of_their_own():
    """Those who dump it may be several, and each makes its first dump."""
    moments = [INSTANT.replace(microsecond=us) for us in (0, 7, 482113)]

    names = [naming.dump_name(naming.DEFAULT_NAME, moment, "", pid=4711) for moment in moments]

    assert names == [f"core_20260102.030405.4711.{us:06}" for us in (0, 7, 482113)]
    pattern = naming.pattern_of(naming.DEFAULT_NAME)
    assert all(pattern.fullmatch(name) for name in names)


@pytest.mark.parametrize(
    "template",
    [
        "{what}",
        "{pid.__class__}",
        "{pid!r}",
        "{pid:>9}",
        "{0}",
        "{",
        "}",
        "",
        "...",
        7,
        "{pid[0]}",
    ],
)
def test_a_template_that_means_nothing_is_a_usage_error(template):
    """It names the fields that there are."""
    with pytest.raises(gencore.UsageError, match=r"\{pid\}, \{exe\}"):
        naming.check_template(template)


ANYTHING = st.one_of(st.sampled_from("-./\\ \0\n{}a"), st.characters())
"""What means something at the beginning of a name, or in a path, more often than by chance."""


@given(
    pod=st.text(ANYTHING, min_size=1), template=st.sampled_from(["{pod}", "a{pod}", "{pod}.{id}"])
)
def test_a_name_is_always_one_harmless_component_of_a_path(pod, template):
    """Whatever the surroundings say: it is not hidden, no option, and not too long."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(naming.os, "environ", {"POD_NAME": pod})
        name = naming.dump_name(template, INSTANT, "the-id")

    assert re.fullmatch(r"[A-Za-z0-9_+=@][A-Za-z0-9._+=@-]*", name)
    assert len(name) <= 200


def test_a_name_that_is_taken_is_refused_before_the_pause(tmp_path):
    """With what makes it unique; nothing is replaced."""
    first = run(tmp_path, "always-this")
    before = first.path_of("raw").read_bytes()

    with pytest.raises(gencore.OutputError, match=r"always-this\.core: file exists.*put \{id\}"):
        run(tmp_path, "always-this")
    assert first.path_of("raw").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_ids_are_uuids_of_version_7_in_order_of_time():
    """RFC 9562, 5.7."""
    early, late = (naming.dump_id(datetime(2026, 1, day, tzinfo=UTC)) for day in (1, 2))

    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", early
    )
    assert early < late


def test_what_makes_a_name_unique_is_not_cut_off(monkeypatch):
    """However long the other fields are."""
    monkeypatch.setenv("POD_NAME", "p" * 253)
    monkeypatch.setattr("platform.node", lambda: "h" * 253)

    name = naming.dump_name("{pod}-{host}-{id}", INSTANT, "the-id")

    assert name.endswith("-the-id")


@pytest.mark.parametrize("ends", [("-0", "-1"), ("-x7k2p", "-m4c9q"), ("", ".")])
@pytest.mark.parametrize("field", ["pod", "host", "exe"])
def test_long_names_that_differ_give_names_that_differ(monkeypatch, field, ends):
    """Replicas differ at the end; it stays, and the same name always gives the same."""
    names = []
    for end in ends:
        long = f"{'orders-recommendation-engine-' * 5}statefulset{end}"
        monkeypatch.setenv("POD_NAME", long)
        monkeypatch.setattr("platform.node", lambda long=long: long)
        monkeypatch.setattr("sys.executable", f"/bin/{long}")
        names.append(naming.dump_name(f"{{{field}}}", INSTANT, "id"))

        assert naming.dump_name(f"{{{field}}}", INSTANT, "id") == names[-1]
        assert len(names[-1]) == 64
        assert names[-1].endswith(f"statefulset{end}")

    assert names[0] != names[1]


def test_names_that_differ_in_the_middle_differ_too(monkeypatch):
    """By the hash that stands for what is left out."""
    names = []
    for middle in "ab":
        monkeypatch.setenv("POD_NAME", f"{'x' * 90}{middle}{'x' * 90}")
        names.append(naming.dump_name("{pod}", INSTANT, "id"))

    assert names[0] != names[1]


def test_a_template_that_is_too_long_keeps_its_end(monkeypatch):
    """There is what makes the name unique."""
    monkeypatch.setenv("POD_NAME", "p" * 253)

    name = naming.dump_name("{pod}" * 5 + "-{id}", INSTANT, "the-id")

    assert len(name) == 200
    assert name.endswith("-the-id")

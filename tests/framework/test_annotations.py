"""Annotations are set at any time, and are in the manifest of the next dump."""

import json

import pytest

import gencore
from gencore._runtime import standing
from gencore.testing import SimulatedBackend


@pytest.fixture(autouse=True)
def nothing_stands(monkeypatch):
    """Begin without any, and leave none."""
    monkeypatch.setattr(standing, "annotations", {})


def annotations_of(pipeline):
    return json.loads(pipeline.run().path_of("manifest").read_text())["annotations"]


@pytest.fixture
def pipeline(tmp_path):
    """Build one that was there before anything was annotated."""
    return gencore.Pipeline(
        backend=SimulatedBackend(),
        collectors=["manifest"],
        directory=tmp_path,
        annotations={"dump": "own", "both": "own"},
    )


def test_each_dump_has_what_stands_at_its_instant(pipeline):
    """Its own come first; None takes one away."""
    gencore.annotate(request="4711", both="standing")
    first = annotations_of(pipeline)
    gencore.annotate(request=None, phase="idle")

    assert first == {"dump": "own", "both": "own", "request": "4711"}
    assert annotations_of(pipeline) == {"dump": "own", "both": "own", "phase": "idle"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"a": "x" * 1025}, "longer than 1,024 bytes"),
        ({"a" * 1025: "x"}, "longer than 1,024 bytes"),
        ({"a": 7}, "is not a string"),
        ({f"k{i}": "" for i in range(64)}, "65 annotations"),
    ],
    ids=["value", "key", "type", "number"],
)
def test_what_a_manifest_does_not_take_is_refused_at_once(pipeline, wrong, words):
    """Not at the instant, where it would cost the dump; and nothing of it is set."""
    gencore.annotate(kept="yes")

    with pytest.raises(gencore.UsageError, match=words):
        gencore.annotate(**wrong)

    assert annotations_of(pipeline) == {"dump": "own", "both": "own", "kept": "yes"}


def test_too_many_in_sum_cost_no_dump(pipeline):
    """The dump's own are all there."""
    gencore.annotate(**{f"k{i:02}": "" for i in range(64)})

    found = annotations_of(pipeline)

    assert len(found) == 64
    assert found["dump"] == "own"

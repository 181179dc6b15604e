"""A manifest in which any value may be anything: each command ends, and shows nothing raw."""

import copy
import json
import os
import tarfile
import tempfile
from pathlib import Path

import pytest

import gencore

HOSTILE = "\x1b[2J\r\nprocess     forged\x00\x85\u2028\u202e\udcff\ud800"
ODD = [
    None,
    True,
    10**400,
    HOSTILE,
    [None, 7, HOSTILE, {"name": HOSTILE, "tid": HOSTILE, "python": {"frames": [HOSTILE]}}],
    {HOSTILE: HOSTILE},
]
"""One value of each type that JSON has."""
COMMANDS = (
    *(["info"], ["info", "--json"], ["verify"], ["list"]),
    *(["stacks"], ["report", "--force"], ["open", "--print"]),
)


@pytest.fixture
def tmp_path():
    """Keep the many small files in memory, where removing each costs no write to a disk."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as path:
        yield Path(path)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Return the manifest of this process, with one row in each list."""
    bundle = gencore.collect_core(directory=tmp_path_factory.mktemp("bundle"), content="stacks")
    with tarfile.open(bundle) as tar:
        name = f"{bundle.name.removesuffix('.tar.gz')}/manifest.json"
        return shortened(json.load(tar.extractfile(name)))


def shortened(value):
    """Return JSON with one row in each list, and one entry in an object of alike ones."""
    if isinstance(value, list):
        return [shortened(row) for row in value[:1]]
    if not isinstance(value, dict):
        return value
    rows = [row for row in value.values() if isinstance(row, dict)]
    alike = len(rows) == len(value) > 1 and all(row.keys() == rows[0].keys() for row in rows)
    return {k: shortened(v) for k, v in [*value.items()][: 1 if alike else None]}


def places(value, path=()):
    """Yield the path of every value, containers too."""
    yield path
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(below, (*path, key))


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("odd", "stride"),
    [
        pytest.param(HOSTILE, 3, id="every third"),
        *(pytest.param(odd, 1, id=ascii(odd)[:20], marks=pytest.mark.exhaustive) for odd in ODD),
    ],
)
def test_no_value_of_a_manifest_does_harm(
    odd, stride, *, manifest, tmp_path, write_bundle, command
):
    """Each is replaced in turn by each type, by absurd numbers and by hostile text."""
    executable = manifest["process"]["executable"]["path"].lstrip("/")
    seen = set()
    for place in [*places(manifest)][1::stride]:  # the first is all of it
        changed = copy.deepcopy(manifest)
        *way, last = place
        inside = changed
        for step in way:
            inside = inside[step]
        inside[last] = odd
        files = {"manifest.json": json.dumps(changed).encode(), executable: b""}
        path = write_bundle(tmp_path / "bundle.tar.gz", files)

        for name, *options in COMMANDS:
            code, _, _ = command(tmp_path if name == "list" else path, name, *options)
            seen.add((name, code))

    assert ("info", 0) in seen
    assert ("stacks", 3) in seen  # of the manifest
    assert ("report", 0) in seen


def test_a_number_that_json_does_not_have_becomes_null(tmp_path, inside, write_bundle):
    """What is printed is JSON for every reader of it."""
    data = b'{"nan": NaN, "infinity": -Infinity, "large": 1e999, "finite": 1e3}'
    path = write_bundle(tmp_path / "a.tar.gz", {"manifest.json": data})

    code, out, _ = inside("info", "--json", path)

    assert code == 0
    assert json.loads(out, parse_constant=pytest.fail)["manifest"] == {
        "nan": None,
        "infinity": None,
        "large": None,
        "finite": 1000.0,
    }

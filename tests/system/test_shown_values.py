"""The objects that gencore shows, compared with what the process said of them itself."""

import json
import os
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "shown_values.py"

pytestmark = pytest.mark.timeout(400)

ONE_PYTHON = pytest.mark.parametrize("installed", ["3.13"], indirect=True)
"""For what does not depend on the Python that was dumped."""


@pytest.fixture(scope="module")
def told(installed, tmp_path_factory):
    """Return what the program told of its objects, before the names of their bundle."""
    program = [installed[1], PROGRAM, tmp_path_factory.mktemp("dumped")]
    return json.loads(subprocess.run(program, capture_output=True, check=True).stdout)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Return the directory where the commands keep what they have unpacked."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(tool, cache):
    """Return a function that runs a command: (code, what it prints, its errors)."""

    def run(*words):
        done = subprocess.run(
            [tool("gencore"), *map(str, words)],
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def shown(run):
    """Return a function that runs a command that succeeds, with --json."""

    def show(*words):
        code, out, err = run(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    return show


def test_objects_are_shown_as_the_program_saw_them(told, check_values):
    """Their repr, attributes, items and types: one object of each kind."""
    check_values(told, told["bundle"])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("objects", "asked for its dict"),
        pytest.param("objects", "sub tuple", marks=pytest.mark.exhaustive),
        pytest.param("objects", "many attributes", marks=pytest.mark.exhaustive),
    ],
)
def test_an_object_is_inspected_with_what_it_leads_to(told, shown, kind, name):
    """The size is that of sys.getsizeof, and each attribute has its address."""
    address, attributes = told[kind][name]

    found = shown("inspect", "--keep", "--top", 1000, told["bundle"], hex(address))

    assert (found["address"], found["size"]) == (hex(address), told["sizes"][name])
    assert {row["name"]: int(row["address"], 16) for row in found["attributes"]} == attributes
    assert found["attributes_found"] == len(attributes)


def test_a_container_is_inspected_with_its_items(told, shown, run):
    """As many as are asked for, of how many; keys have addresses, too."""
    address, items = told["containers"]["shrunk dict"]

    found = shown("inspect", "--keep", "--top", 7, told["bundle"], address)
    _, text, _ = run("inspect", "--keep", "--top", 7, told["bundle"], hex(address))

    assert (found["length"], found["size"]) == (len(items), told["sizes"]["shrunk dict"])
    pairs = [[row["key"]["address"], row["address"]] for row in found["items"]]
    assert pairs == [[hex(key), hex(value)] for key, value in items[:7]]
    assert found["items"][0]["key"]["value"] == "1"
    assert f"  items (7 of {len(items)})\n" in text
    assert f"{items[0][1]:#18x}  1: '1'\n" in text


@pytest.mark.parametrize("kind", ["generator", "frame"])
def test_what_has_a_frame_is_inspected_with_its_variables(told, shown, kind):
    """One that is suspended, and one that a traceback keeps."""
    address, variables = told["frames"][kind]

    found = shown("inspect", "--keep", told["bundle"], address)

    assert {row["name"]: row["value"] for row in found["variables"]} == variables


@ONE_PYTHON
def test_what_is_no_object_cannot_be_inspected(told, run):
    """An address of nothing, and what is no address."""
    for address, says in (("0x10", "no object at 0x10"), ("ten", "invalid address: 'ten'")):
        code, out, err = run("inspect", "--keep", told["bundle"], address)

        assert (code, out) == (2, "")
        assert says in err


def test_the_objects_of_a_type_are_listed(told, shown, run):
    """By the type's qualified name, and by the end of it; the largest first, or a sample."""
    bundle = told["bundle"]
    options = {
        "qualified": ("--type", "__main__.Plain"),
        "last part": ("--type", "Plain", "--largest"),
        "sample": ("--type", "Plain", "--sample", "--top", 3),
        "lists": ("--type", "list", "--top", 5),
    }

    found = {name: shown("objects", "--keep", *words, bundle) for name, words in options.items()}
    _, text, _ = run("objects", "--keep", "--type", "Plain", bundle)

    assert found["qualified"] == found["last part"]
    assert [row["count"] for row in found["qualified"]["types"]] == [told["of_type"]]
    addresses = {row["address"]: row["value"] for row in found["qualified"]["objects"]}
    plain = told["objects"]["plain"][0]
    assert addresses[hex(plain)] == "<__main__.Plain a=1, b='x'>"
    assert len(addresses) == told["of_type"]
    sample = [row["address"] for row in found["sample"]["objects"]]
    assert len({*sample}) == 3
    assert addresses.keys() >= {*sample}
    sizes = [row["size"] for row in found["lists"]["objects"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] >= told["sizes"]["long list"]
    assert f"{plain:#18x}" in text


@ONE_PYTHON
def test_an_unknown_type_is_an_error_with_the_closest_names(told, run):
    """And a command that lists all."""
    code, out, err = run("objects", "--keep", "--type", "__main__.Slottd", told["bundle"])

    assert (code, out) == (2, "")
    assert "unknown type: '__main__.Slottd': did you mean __main__.Slotted, " in err
    assert f"remedy: gencore heap --top 100 {told['bundle']}" in err

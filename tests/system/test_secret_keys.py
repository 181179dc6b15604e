"""Keys of dictionaries, which may be tokens of sessions, are shown on request only."""

import json
import subprocess
import sys

import pytest

CODE = """if True:
    import gencore, os
    class Session:
        def __init__(self, number):
            self.blob = {("card", "SECRET-NUMBER"): [str(number)] * 90_000}
    def serve():
        last = {b"SECRET-BYTES": ["x" * 50 + str(n) for n in range(20_000)]}
        print(gencore.collect_core(content="private"), flush=True)
    tokens = {f"SECRET_KEY_{n}": Session(n) for n in range(3)}
    by_number = {4: [str(n) * 9 for n in range(30_000)]}
    serve()
    os._exit(0)
"""

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Return a bundle of a process with secret keys."""
    folder = tmp_path_factory.mktemp("secret")
    run = [sys.executable, "-c", CODE]
    done = subprocess.run(run, capture_output=True, check=True, text=True, cwd=folder)
    return folder / done.stdout.strip()


def shown(bundle, *words):
    """Return what a command prints."""
    command = [sys.executable, "-m", "gencore", words[0], "--quiet", *words[1:], bundle]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


@pytest.mark.parametrize(
    "words",
    [
        ("why", "--json"),
        ("heap", "--retained", "--json"),
        ("stacks", "--json"),
        ("locks", "--json"),
        ("tasks", "--json"),
    ],
    ids=" ".join,
)
def test_a_key_is_no_part_of_what_is_shown(bundle, words):
    """In its place is its type."""
    assert "SECRET" not in shown(bundle, *words)


def test_a_way_has_types_of_keys_unless_values_are_asked_for(bundle):
    """Names of attributes and variables, and numbers, are shown always."""
    hidden, whole = (
        {row["way"] for row in json.loads(out)["retained"]["holders"]}
        for out in (
            shown(bundle, "heap", "--retained", "--json"),
            shown(bundle, "heap", "--retained", "--locals", "--json"),
        )
    )

    assert {"module __main__: tokens[str].blob[tuple]", "module __main__: by_number[4]"} <= hidden
    assert any(way.endswith("last[bytes]") for way in hidden)
    assert "module __main__: tokens['SECRET_KEY_1'].blob[('card', 'SECRET-NUMBER')]" in whole


def test_referrers_are_shown_by_their_types_unless_values_are_asked_for(bundle):
    """The way, its steps, and each referrer."""
    objects = json.loads(shown(bundle, "objects", "--type", "Session", "--json"))["objects"]
    address = str(objects[0]["address"])
    command = [sys.executable, "-m", "gencore", "referrers", "--quiet", "--to-root", "--json"]
    hidden, whole = (
        subprocess.run(
            [*command, *more, bundle, address], capture_output=True, check=True, text=True
        ).stdout
        for more in ([], ["--locals"])
    )

    assert "SECRET" not in hidden
    assert json.loads(hidden)["way"] == "module __main__: tokens[str]"
    assert "tokens['SECRET_KEY_" in json.loads(whole)["way"]

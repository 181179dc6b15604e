"""What the commands say of a core whose end is missing: what is left, and that more may be."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gencore.analysis import Memory, find_python
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

PROGRAM = Path(__file__).parent / "programs" / "locked_threads.py"
COMMANDS = (
    ("locks",),
    ("tasks",),
    ("stacks",),
    ("why",),
    ("heap",),
    ("heap", "--retained"),
    ("objects", "--type", "dict"),
)

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """Return the core of a process with deadlocks, as a file."""
    folder = tmp_path_factory.mktemp("truncated")
    dumps = [sys.executable, PROGRAM, folder, "deadlocked", "full"]
    bundle = json.loads(subprocess.run(dumps, capture_output=True, check=True).stdout)["bundle"]
    extracts = [sys.executable, "-m", "gencore", "extract", "--quiet", "-o", folder, bundle]
    subprocess.run(extracts, capture_output=True, check=True)
    return next(folder.glob("*/core"))


@pytest.fixture(scope="module")
def cut(core, tmp_path_factory):
    """Return a function that makes a core of the first bytes of it."""

    def make(share):
        short = tmp_path_factory.mktemp("cut") / "core"
        short.write_bytes(core.read_bytes()[: int(core.stat().st_size * share)])
        return short

    return make


@pytest.fixture(scope="module")
def shortest(cut):
    """Return the shortest core in which Python is found, to five parts in a hundred."""
    found = None
    for parts in range(100, 0, -5):
        short = cut(parts / 100)
        try:
            python_in(short)
        except IntegrityError:
            short.unlink()
            break
        if found:
            found.unlink()
        found = short
    return found


def python_in(path):
    """Return the Python in a core. Raises `IntegrityError`."""
    with CoreFile(path) as opened:
        return find_python(Memory.of_core(opened, path), opened)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_nothing_found_in_a_truncated_core_means_nothing(inside, shortest, words):
    """The exit code is 3, the reason is said, and no list is empty: it is unknown."""
    code, out, err = inside(*words, "--json", shortest)
    shown = json.loads(out)

    assert code == 3, err
    assert "some may be missing: the core is truncated" in err
    assert shown["incomplete"].startswith("the core is truncated")
    assert [] not in shown.values()
    assert shown.get("retained") is None


@pytest.mark.parametrize(
    ("words", "claim"),
    [
        (("locks",), "no thread waits for a lock\n"),
        (("tasks",), "no event loop of asyncio and no greenlet\n"),
        (("stacks",), "is empty"),
        (("why",), "no problem found;"),
        (("heap",), "types\n\n"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_no_sentence_rests_on_what_is_missing(inside, shortest, words, claim):
    """The sentence that means that there is none stands only under a whole core."""
    assert claim not in inside(*words, shortest)[1]


def test_a_core_that_lacks_little_gives_what_is_left(inside, core, cut):
    """The deadlocks are found, as in the whole one, and the exit code is 3 all the same."""
    whole = json.loads(inside("locks", "--json", core)[1])
    code, out, _ = inside("locks", "--json", cut(0.9999))
    shown = json.loads(out)

    assert (whole["incomplete"], code) == (None, 3)
    assert shown["deadlocks"] == whole["deadlocks"] != []


def test_a_list_of_threads_that_breaks_off_is_no_list(inside, cut):
    """What leads to the threads is overwritten, in a file of the right size."""
    damaged = cut(1)
    python = python_in(damaged)
    head = python.runtime + python.layout.first_interpreter
    piece = python.memory.piece_at(head)
    with damaged.open("r+b") as file:
        file.seek(piece.offset + head - piece.start)
        file.write((0x10).to_bytes(8, "little"))
    code, out, _ = inside("locks", "--json", damaged)

    assert code == 3
    assert json.loads(out)["waits"] is None
    assert json.loads(out)["incomplete"].startswith("the list of threads breaks off")


POOLS = """if True:
    import sys
    from pathlib import Path
    from gencore.analysis import Memory
    from gencore.analysis.heap.pools import find_pools
    from gencore.analysis.interpreter.words import Words
    from gencore.corefile import CoreFile
    with CoreFile(sys.argv[1]) as core:
        words = Words(Memory.of_core(core, Path(sys.argv[1])))
        print(*(words.things(find_pools(words).addresses[9:99:9])[0].places * 8))
"""


@pytest.fixture(scope="module")
def holed(core, tmp_path_factory):
    """Return a copy of the core in which ten pools are zeros."""
    found = subprocess.run([sys.executable, "-c", POOLS, core], capture_output=True, check=True)
    holes = [int(offset) for offset in found.stdout.split()]
    assert len(holes) == 10
    copy = tmp_path_factory.mktemp("holed") / "core"
    content = bytearray(core.read_bytes())
    for offset in holes:
        content[offset : offset + (1 << 14)] = bytes(1 << 14)
    copy.write_bytes(content)
    return copy


@pytest.fixture(scope="module")
def largest(core):
    """Return the address of an object that is in no pool."""
    command = [sys.executable, "-m", "gencore", "heap", "--quiet", "--json", core]
    shown = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return shown["largest"][0]["address"]


@pytest.mark.parametrize(
    "words",
    [
        "heap CORE",
        "heap --retained CORE",
        "objects --type dict CORE",
        "objects --type never_defined CORE",
        "referrers CORE OBJECT",
        "inspect CORE OBJECT",
        "why CORE",
        "diff WHOLE CORE",
    ],
)
def test_pools_that_are_zeros_are_said_to_be_missing(inside, core, holed, largest, words):
    """As in a copy with holes: the table of arenas says that they were in use."""
    places = {"CORE": str(holed), "WHOLE": str(core), "OBJECT": largest}
    command, *arguments = [places.get(word, word) for word in words.split()]
    code, out, err = inside(command, "--json", *arguments)

    reason = "10 pools of objects were in use, and are zeros in the core"
    assert (code, json.loads(out)["incomplete"]) == (3, reason), err
    assert f"some may be missing: {reason}" in err


def test_what_holds_is_unknown_if_pools_are_zeros(inside, core, holed):
    """The way to an object may have led through them; a whole core has none that are zeros."""
    shown = json.loads(inside("heap", "--retained", "--json", holed)[1])

    assert shown["types"]
    assert shown["retained"] is None
    assert json.loads(inside("heap", "--json", core)[1])["incomplete"] is None

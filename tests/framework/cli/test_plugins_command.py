"""`gencore plugins show` and `gencore plugins new`."""

import json
import os
import shlex
import subprocess
import sys
import tomllib

import pytest

DESCRIBED = """
from typing import Annotated
from gencore import Collector, Range
class C(Collector):
    \"\"\"Saves nothing,
    in two lines.

    And says more.
    \"\"\"
    name = "described"
    api_version = (1, 0)
    keeps_core = True
    def __init__(self, *, key: str, level: Annotated[int, Range(1, 22)] = 3, **others: bool):
        pass
    def finish(self, dump):
        return []
"""
BROKEN = """
class Meta(type(C)):
    @property
    def packs(cls):
        raise OSError("no licence")
    @property
    def __doc__(cls):
        raise SystemError
class D(C, metaclass=Meta):
    name = "described"
C = D
"""


@pytest.fixture
def cli(tmp_path):
    """Return a function that runs the command line where distributions can be installed."""

    def run(*arguments, **environ):
        return subprocess.run(
            [sys.executable, "-m", "gencore", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path), **environ},
            check=False,
            timeout=100,
        )

    return run


@pytest.fixture
def new(tmp_path, inside, monkeypatch):
    """Return a function that runs ``plugins new`` in an empty directory, in this process."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return subprocess.CompletedProcess(arguments, *inside("plugins", "new", *arguments))

    return run


@pytest.fixture
def install(tmp_path):
    """Return a function that puts a distribution with one plug-in there."""

    def add(code, distribution="sample", name="described", group="gencore.collectors"):
        module = distribution.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        about = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        (info / "METADATA").write_text(about)
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:C\n")

    return add


def shown(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["plugins"]


def test_show_has_everything_that_is_known_of_a_plug_in(cli, install):
    """Origin, contract, status, description, options with type and default, attributes."""
    install(DESCRIBED)

    (row,) = shown(cli("plugins", "show", "described", "--json"))

    assert row == {
        "family": "collector",
        "name": "described",
        "distribution": "sample",
        "version": "1.0",
        "api_version": "1.0",
        "status": "ok",
        "reason": None,
        "remedy": None,
        "description": "Saves nothing, in two lines.",
        "options": [
            {"name": "key", "type": "str", "required": True, "default": None},
            {"name": "level", "type": "int from 1 to 22", "required": False, "default": 3},
        ],
        "other_options": "bool",
        "attributes": row["attributes"],
    }
    assert row["attributes"].items() >= {"keeps_core": True, "packs": False}.items()


def test_show_is_readable(cli, install):
    """One line for each option and attribute."""
    install(DESCRIBED)

    lines = cli("plugins", "show", "described").stdout.splitlines()

    assert lines[0] == "collector described: ok"
    assert {
        "  distribution: sample 1.0",
        "  contract version: 1.0",
        "  Saves nothing, in two lines.",
        "  option key: str, required",
        "  option level: int from 1 to 22, default 3",
        "  any other option: bool",
        "  keeps_core: true",
    } <= set(lines)


def test_what_a_plug_in_says_does_not_reach_the_terminal_raw(cli, install):
    """Neither colours nor what moves the cursor."""
    install(DESCRIBED.replace("Saves nothing,", "Saves \\x1b[31mnothing,"))

    printed = cli("plugins", "show", "described").stdout

    assert "\x1b" not in printed
    assert "[31mnothing, in two lines." in printed


def test_a_default_that_json_has_not_is_shown_as_text(cli, install):
    """Infinity is no JSON; and --json may stand before the name of the command."""
    install(DESCRIBED.replace("= 3", "= float('inf')"))

    (row,) = shown(cli("plugins", "--json", "show", "described"))

    assert row["options"][1]["default"] == "inf"


def test_show_survives_what_a_class_does_when_it_is_looked_at(cli, install):
    """What raises is shown as that."""
    install(DESCRIBED + BROKEN)

    (row,) = shown(cli("plugins", "show", "described", "--json"))

    assert row["status"] == "ok"
    assert row["description"] == "(raises SystemError: )"
    assert row["attributes"]["packs"] == "(raises OSError: no licence)"


def test_show_knows_why_a_plug_in_cannot_be_used(cli, install):
    """And shows every plug-in of a name, the one that it means first."""
    install(DESCRIBED, name="raw")

    ours, theirs = shown(cli("plugins", "show", "raw", "--json"))
    (named,) = shown(cli("plugins", "show", "sample:raw", "--json"))

    assert (ours["distribution"], ours["status"]) == ("gencore", "ok")
    assert (theirs["status"], theirs["options"]) == ("shadowed", [])
    assert theirs["remedy"] == "collectors=['sample:raw']"
    assert named["status"] == "incompatible"


def test_a_listener_is_shown_as_what_it_is(cli, install):
    """Any callable: its origin and description, no options and no attributes."""
    code = 'def C(event, *, loud=False):\n    "Prints the events."\n    print(event)\n'
    install(code, group="gencore.listeners")

    (row,) = shown(cli("plugins", "show", "described", "--json"))

    assert (row["family"], row["status"]) == ("listener", "ok")
    assert row["description"] == "Prints the events."
    assert (row["options"], row["attributes"]) == ([], {})


def test_every_family_is_listed(cli, install):
    """With the plug-ins of gencore itself first."""
    install("C = print", group="gencore.listeners")

    rows = json.loads(cli("plugins", "--json").stdout)["plugins"]
    lines = cli("plugins").stdout.splitlines()

    names = {(row["family"], row["name"]) for row in rows}
    assert {
        ("backend", "linux-elf"),
        ("collector", "archive"),
        ("destination", "descriptor"),
        ("destination", "directory"),
        ("listener", "described"),
    } <= names
    assert [line for line in lines if line.startswith("listener     described")]


@pytest.mark.parametrize("command", ["plugins", "doctor"])
def test_a_policy_that_names_nothing_installed_is_reported(cli, install, command):
    """With what is installed, and the remedy."""
    install(DESCRIBED)
    fault = "GENCORE_PLUGINS names 'descirbed', which is not installed; installed: described"
    remedy = "did you mean 'described'?"

    shown = cli(command, GENCORE_PLUGINS="descirbed").stdout
    read = json.loads(cli(command, "--json", GENCORE_PLUGINS="descirbed").stdout)

    assert f"{fault}\n  remedy: {remedy}\n" in shown
    assert read["policy_faults"] == [{"text": fault, "remedy": remedy}]
    assert json.loads(cli(command, "--json").stdout)["policy_faults"] == []


def test_a_class_that_lacks_methods_is_a_row_that_names_them(cli, install):
    """Of whatever family: it could never be made."""
    code = (
        "from gencore import Backend\n"
        "class C(Backend): name, api_version, priority = 'described', (1, 1), 1\n"
    )
    install(code, group="gencore.backends")

    (row,) = shown(cli("plugins", "show", "described", "--json"))
    listed = cli("plugins").stdout

    assert row["status"] == "incompatible"
    assert row["reason"] == "methods of its contract are missing: probe, snapshot"
    assert row["reason"] in listed


def test_show_refuses_an_empty_name(cli):
    """As a mistake of the caller's."""
    done = cli("plugins", "show", "")

    assert done.returncode == 2
    assert "plug-in name '' is empty: expected NAME or DISTRIBUTION:NAME" in done.stderr


def test_show_has_the_options_of_a_destination(cli):
    """And its docstring."""
    (row,) = shown(cli("plugins", "show", "directory", "--json"))

    assert row["family"] == "destination"
    names = ["path", "keep_count", "keep_bytes", "keep_age", "keep_free"]
    assert [option["name"] for option in row["options"]] == names


def test_show_answers_an_unknown_name_with_the_nearest(cli):
    """With the exit code of plug-ins."""
    done = cli("plugins", "show", "archiv")

    assert done.returncode == 9
    assert "plug-in 'archiv': not installed" in done.stderr
    assert "did you mean 'archive'?" in done.stderr


@pytest.mark.parametrize("kind", ["backend", "collector", "destination", "filter"])
@pytest.mark.parametrize("name", ["heap-stats", "collector", "x-backend", "simulated"])
def test_new_writes_a_package_that_python_can_read(new, tmp_path, kind, name):
    """Every placeholder is filled in, and the entry point names the module's class."""
    done = new(kind, name)

    assert done.returncode == 0, done.stderr
    package = tmp_path / f"gencore-{name}"
    texts = {
        str(path.relative_to(package)): path.read_text()
        for path in package.rglob("*")
        if path.is_file()
    }
    module = f"gencore_{name.replace('-', '_')}"
    assert set(texts) == {
        "pyproject.toml",
        "README.md",
        f"{module}.py",
        f"tests/test_{module}.py",
    }
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    where, _, cls = project["entry-points"][f"gencore.{kind}s"][name].partition(":")
    assert where == module
    assert f"\nclass {cls}({kind.capitalize()}):\n" in texts[f"{module}.py"]
    for path in (path for path in texts if path.endswith(".py")):
        compile(texts[path], path, "exec")


@pytest.mark.parametrize("name", ["Heap", "heap_stats", "-x", "x-", "3d", "", "../x", "a b", "'"])
def test_new_refuses_an_invalid_name(new, tmp_path, name):
    """Before anything is written."""
    done = new("collector", "--", name)

    assert done.returncode == 2
    assert f"invalid name {name!r}" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["archive", "linux-elf", "descriptor", "backends", "filters"])
def test_new_refuses_a_name_of_gencores_own(new, tmp_path, name):
    """Another plug-in of it could be used by its full name only."""
    done = new("collector", name)

    assert done.returncode == 2
    assert f"the name {name!r} is gencore's own" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_new_refuses_a_name_that_is_too_long(new, tmp_path):
    """For the loader, which takes 64 characters."""
    done = new("collector", "x" * 65)

    assert done.returncode == 2
    assert "invalid name 'xxxxxxxxxxxx...xxxxxxxxxxxxx'" in done.stderr
    assert "64 at most" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert new("collector", "x" * 64).returncode == 0


@pytest.mark.parametrize("directory", [".", "two words", "it's", "-o", "$HOME;"])
def test_the_commands_of_new_can_be_pasted(new, tmp_path, directory):
    """Whatever the folder is called. pip would look for a name without a slash in its index."""
    (tmp_path / directory).mkdir(exist_ok=True)

    done = new("collector", "x", "-o", directory)
    _, _, commands = done.stdout.partition(": next, ")

    words = shlex.split(commands)
    package = os.path.join(".", os.path.normpath(f"{directory}/gencore-x"))  # noqa: PTH118 - pathlib drops the dot
    assert words == ["pip", "install", f"{package}[test]", "&&", "pytest", f"{package}/tests"]
    assert (tmp_path / directory / "gencore-x" / "tests").is_dir()


def test_new_leaves_nothing_half_written(new, tmp_path):
    """Where a file of the package does not fit below the longest path that the system takes."""
    deep = tmp_path
    while len(str(deep)) < 3800:
        deep /= "d" * 200
        deep.mkdir()
    deep /= "d" * (4095 - len(str(deep)) - len("/gencore-x/pyproject.toml") - 5)
    deep.mkdir()

    done = new("collector", "x", "-o", str(deep))

    assert done.returncode == 4
    assert "cannot be written (ENAMETOOLONG)" in done.stderr
    assert list(deep.iterdir()) == []


def test_new_replaces_nothing(new, tmp_path):
    """A folder that exists is left as it is; one to put it in must exist."""
    (tmp_path / "gencore-heap-stats").mkdir()

    there = new("collector", "heap-stats")
    nowhere = new("collector", "heap-stats", "-o", "nowhere")

    assert (there.returncode, nowhere.returncode) == (4, 4)
    assert "gencore-heap-stats: exists already" in there.stderr
    assert "nowhere/gencore-heap-stats: cannot be written" in nowhere.stderr
    assert list((tmp_path / "gencore-heap-stats").iterdir()) == []


def test_new_knows_its_kinds(new):
    """And names them."""
    done = new("listener", "x")

    assert done.returncode == 2
    assert "'backend', 'collector', 'destination', 'filter'" in done.stderr

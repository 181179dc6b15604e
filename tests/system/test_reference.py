"""The documentation is built without a warning, and has every public name."""

import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import click
import pytest

import gencore
from gencore.cli import gencore as command_line

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(200)

BEHIND_THE_ROOT = (
    *("gencore.annotations", "gencore.arming", "gencore.exclusion", "gencore.watching"),
    "gencore.cli",
)
"""`gencore` says what is public of them; the command line's interface is its commands."""


@pytest.fixture(scope="module")
def inventory(tmp_path_factory):
    """Build the documentation; return the names that it documents."""
    built = tmp_path_factory.mktemp("docs")
    options = ["--quiet", "--fail-on-warning", "--doctree-dir", built / "doctrees"]
    command = [sys.executable, "-m", "sphinx", *options, ROOT / "docs", built]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reader = import_module("sphinx.util.inventory").InventoryFile  # large: not for every dump
    entries = reader.loads((built / "objects.inv").read_bytes(), uri="").data
    return {kind: set(names) for kind, names in entries.items()}


def public_modules():
    """Return the modules that anybody may use; a folder says itself what is public of it."""
    found = (module.name for module in pkgutil.iter_modules(gencore.__path__, "gencore."))
    return {name for name in found if "._" not in name} - set(BEHIND_THE_ROOT)


NAMES = """
import importlib, json, sys
print(json.dumps([n for module in sys.argv[1:] for n in importlib.import_module(module).__all__]))
"""


def test_every_name_of_the_package_has_a_directive(python):
    """On a page of the reference, itself or with its module; others only the built pages show."""
    text = "".join(page.read_text() for page in (ROOT / "docs/reference/api").glob("*.md"))
    directives = re.findall(r"^\.\. auto(\w+):: ([\w.]+)", text, re.MULTILINE)
    named = {name.rpartition(".")[2] for _, name in directives}
    named.update(python(NAMES, *(name for kind, name in directives if kind == "module")))

    assert set(gencore.__all__) - named == set()


@pytest.mark.exhaustive
def test_every_public_name_is_documented(inventory):
    """A name in a public module's ``__all__`` has a place in the reference."""
    documented = {name for kind, names in inventory.items() if kind[:3] == "py:" for name in names}
    public = {
        f"{module}.{name}"
        for module in ("gencore", *public_modules())
        for name in getattr(import_module(module), "__all__", ())
    }

    assert len(public) > len(gencore.__all__)
    assert public - documented == set()


@pytest.mark.exhaustive
def test_every_command_is_documented(inventory):
    """By its name, and with its options."""
    documented = inventory["std:cmdoption"]
    context = click.Context(command_line)

    for name in command_line.list_commands(context):
        command = command_line.get_command(context, name)
        shown = (p for p in command.params if not getattr(p, "hidden", False))
        options = {option for parameter in shown for option in parameter.opts}
        missing = {o for o in options if o.startswith("-")} - {
            anchor.removeprefix(f"gencore-{name}.") for anchor in documented
        }
        assert missing == set(), name


@pytest.fixture(scope="module")
def architecture():
    """Read the page on the architecture."""
    return (ROOT / "docs/explanation/architecture.md").read_text()


def test_the_import_rules_on_the_page_are_those_that_are_checked(architecture):
    """Each contract of import-linter is a row of the table under its name, and nothing else is."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    rules = architecture.partition("| Rule |")[2].partition("\n\n")[0]

    rows = re.findall(r"^\| ([^-|][^|]*) \|", rules, re.MULTILINE)

    assert rows == [contract["name"] for contract in settings["contracts"]]


@pytest.mark.parametrize("page", ["architecture", "what-a-change-touches"])
def test_what_a_page_points_to_is_there(page):
    """Each file and folder that a newcomer is sent to exists."""
    text = (ROOT / "docs/explanation" / f"{page}.md").read_text()
    named = re.findall(r"`([\w/]+(?:/|\.(?:py|c|h)))`", text.partition("## ")[2])
    folders = ("framework/gencore", "backends/gencore_backends/linux/native", "tests/native")
    roots = ("", "framework", "backends", "collectors", "tests", *folders)
    old = [name for name in named if not re.search("NAME|riscv64", name)]  # others are to be made

    assert len(old) > 20
    assert [n for n in old if not any((ROOT / root / n).exists() for root in roots)] == []


def test_the_page_names_every_folder(architecture):
    """A newcomer reads there what each one of the framework is for."""
    table = architecture.partition("## The folders")[2].partition("##")[0]
    folders = {path.parent.name for path in (ROOT / "framework/gencore").glob("*/__init__.py")}

    assert set(re.findall(r"^\| `(\w+)/` \|", table, re.MULTILINE)) == folders


def test_the_page_on_json_has_every_schema():
    """With its table of fields, and to be downloaded."""
    page = (ROOT / "docs/reference/json.md").read_text()
    names = sorted(path.stem for path in (ROOT / "framework/gencore/cli/schemas").glob("*.json"))

    assert sorted(re.findall(r"^```\{rows\} tables.fields (\S+)$", page, re.MULTILINE)) == names
    assert sorted(re.findall(r"/cli/schemas/(\S+)\.json>", page)) == names


def test_every_field_of_json_is_explained(monkeypatch):
    """In a way that fits into a cell of its table."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    tables = import_module("tables")
    names = [path.stem for path in (ROOT / "framework/gencore/cli/schemas").glob("*.json")]
    fields = [(name, *field) for name in names for field in tables.fields(name)]

    assert len(fields) > 100
    assert [field for field in fields if not all(field) or "|" in "".join(field)] == []

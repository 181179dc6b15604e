"""SECURITY.md promises only what tests show."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "SECURITY.md"
TEST = re.compile(r"\[`(\w+)`\]\((tests/[\w/]+\.py)\)")
ROW = re.compile(r"^\| (?!\*\*|Attack|---)(.+) \|$", re.MULTILINE)


def promises():
    """Return the rows of the table of attacks."""
    text = PAGE.read_text(encoding="utf-8").partition("## What happens")[2].partition("\n## ")[0]
    return ROW.findall(text)


def missing(rows):
    """Return the tests that rows name and no file has."""
    named = {found for row in rows for found in TEST.findall(row)}
    return {(name, file) for name, file in named if name not in functions_in(ROOT / file)}


def functions_in(path):
    """Return the names of a file's functions; none if it is missing."""
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_a_test_that_exists():
    """In the file that it is linked to."""
    rows = promises()

    assert len(rows) > 30
    assert [row for row in rows if not TEST.search(row)] == []
    assert missing(rows) == set()


def test_a_test_that_is_gone_is_noticed():
    """Renamed, or moved to another file."""
    here = "tests/system/test_security_page.py"

    assert missing([f"| x | y | [`test_a_test_that_is_gone_is_noticed`]({here}) |"]) == set()
    assert missing([f"| x | y | [`test_another`]({here}) |"]) == {("test_another", here)}
    assert missing(["| x | y | [`test_x`](tests/gone.py) |"]) == {("test_x", "tests/gone.py")}


def test_readers_are_led_to_the_page():
    """From the first page, and from the documentation."""
    for page in ("README.md", "docs/README.md"):
        assert "SECURITY.md" in (ROOT / page).read_text(encoding="utf-8")

"""The manual pages are made of the commands, and are right for the programs that show them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gencore.cli import gencore as command_line

ROOT = Path(__file__).parents[2]
LAST = ["EXIT STATUS", "EXAMPLES", "SEE ALSO"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Write all pages; return them by name."""
    directory = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, ROOT / "docs/man_pages.py", directory], check=True)
    return {path.stem: path for path in directory.iterdir()}


def test_every_command_has_a_page(pages):
    """And so have the commands below one."""
    commands = {f"gencore-{name}" for name in command_line.list_commands(None)}

    assert {"gencore", *commands, "gencore-plugins-show", "gencore-cache-clear"} <= set(pages)


def test_no_page_has_a_fault(pages, tool):
    """Of the kinds that mandoc finds."""
    command = [tool("mandoc"), "-T", "lint", "-W", "warning", *pages.values()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_a_page_shows_what_the_help_does(pages, tool):
    """Examples as they are to be typed, hyphens included."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    command = [tool("mandoc"), "-T", "utf8", pages["gencore-list"]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    plain = re.sub(".\x08", "", done.stdout)  # bold letters are printed twice

    sections = re.findall("^[A-Z ]+$", plain, re.MULTILINE)
    assert sections == ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", *LAST]
    assert "gencore-list - List the bundles in a directory, oldest first\n" in plain
    assert "gencore list --since 2h\n" in plain

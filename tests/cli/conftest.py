"""The command line, run in the process of the tests."""

import sys

import pytest

from gencore import cli as command_line


@pytest.fixture
def inside(monkeypatch, capsys):
    """Return a function that runs the command line in this process: (code, out, err)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gencore", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        return ended.value.code, *capsys.readouterr()

    return run

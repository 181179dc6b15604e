"""What all commands print as JSON has one form."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from gencore.cli import json_output

SUMMER = timezone(timedelta(hours=2))


def test_the_version_of_the_schema_comes_first(capsys):
    """A reader that knows another version can stop there."""
    json_output.print_json({"a": 1})

    assert list(json.loads(capsys.readouterr().out).items()) == [
        ("schema_version", "1.0"),
        ("a", 1),
    ]


def test_paths_and_instants_are_text_in_one_form(capsys):
    """Instants are in UTC, with all digits, wherever they were taken."""
    instant = datetime(2026, 11, 24, 4, 4, 19, tzinfo=SUMMER)

    json_output.print_json({"at": instant, "path": Path("a/\udcff")})

    shown = json.loads(capsys.readouterr().out)
    assert shown["at"] == "2026-11-24T02:04:19.000000Z"
    assert shown["path"] == "a/\udcff"


def test_what_has_no_form_in_json_is_a_fault_of_the_command():
    """It is not printed in whatever form Python has for it."""
    with pytest.raises(TypeError, match="object has no form in JSON"):
        json_output.print_json({"what": object()})


@pytest.mark.parametrize(
    ("line", "requested"),
    [("info x --json", True), ("info x", False), ("exec -- x --json", False)],
)
def test_errors_are_json_if_the_command_line_says_so(monkeypatch, line, requested):
    """What follows two hyphens is another program's."""
    monkeypatch.setattr("sys.argv", ["gencore", *line.split()])

    assert json_output.is_json_requested() is requested

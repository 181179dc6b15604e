"""``gencore locks``: what the threads wait for, and who holds it."""

from pathlib import Path
from typing import Any, Final

import click

from gencore._escaping import escape_unprintable
from gencore._overview import WITHOUT_HEAP
from gencore.bundle.cache import UnpackedCore
from gencore.bundle.manifest import ManifestValue
from gencore.cli.budget import limited
from gencore.cli.bundle import open_input, unpack
from gencore.cli.errors import print_gap, print_incomplete
from gencore.cli.json_output import print_json
from gencore.cli.lock_lines import lock_lines
from gencore.cli.options import bundle_argument, json_option, keep_option, quiet_option
from gencore.cli.reader_process import ask
from gencore.cli.thread_stacks import integer_of, names_of_threads
from gencore.errors import ExitCode, IntegrityError

__all__ = ["locks_command"]

_OF_WAIT: Final = ("kind", "address", "type", "module", "within", "known_by")
_OF_THREAD: Final = ("state", "system_call", "function", "file")


@click.command("locks")
@bundle_argument
@keep_option
@quiet_option
@json_option
@limited
def locks_command(*, path: Path, keep: bool, quiet: bool, as_json: bool) -> int:
    """Show what each thread waits for, and who holds it.

    That is a Lock or an RLock of threading, what is built on these, as a Condition or a Queue, the
    end of a thread, an import, or the GIL. Deadlocks come first. An owner is named only if it is
    certain. If the core lacks locks, or is truncated, the exit code is 3.

    \b
    Examples:
      gencore locks BUNDLE
      gencore locks --json BUNDLE
    """
    with open_input(path) as opened, unpack(opened, keep=keep, quiet=quiet) as copy:
        facts = ManifestValue(opened.facts())
        content = facts["core"]["content"].text
        found, failure = _read(copy, names_of_threads(facts["threads"]))
    if found is None and content not in WITHOUT_HEAP:
        raise IntegrityError(f"{path}: {failure}")
    if found and content in WITHOUT_HEAP and not found["waits"]:
        found = None  # that none was found means nothing
    if as_json:
        reason = f"the core has the content {content}"
        print_json(
            found or {"waits": None, "threads": [], "deadlocks": None, "incomplete": reason}
        )
    for line in lock_lines(ManifestValue(found)) if found and not as_json else ():
        click.echo(escape_unprintable(line))
    if content in WITHOUT_HEAP:
        click.echo(f"gencore: the core has the content {content}: locks are missing", err=True)
        return ExitCode.PARTIAL
    return print_incomplete(found["incomplete"] if found else None)


def _read(
    copy: UnpackedCore, names: dict[int | None, str | None]
) -> tuple[dict[str, Any] | None, str]:
    """Return what `gencore.analysis` finds, in the form of --json; None, and why, if it failed."""
    reading = ask("locks", copy)
    for gap in reading.gaps:
        print_gap(gap)
    if reading.value is None:
        return None, reading.failure
    found = ManifestValue(reading.value)
    shown = {
        "waits": [_wait(row) for row in found["waits"]],
        "threads": [_thread(row, names) for row in found["threads"]],
        "deadlocks": [[integer_of(tid) for tid in cycle] for cycle in found["deadlocks"]],
        "incomplete": reading.incomplete,
    }
    return shown, ""


def _wait(row: ManifestValue) -> dict[str, Any]:
    return {
        "tid": integer_of(row["tid"]),
        **{name: row[name].text for name in _OF_WAIT},
        "held_by": integer_of(row["held_by"]),
        **{name: row[name].text == "yes" for name in ("is_owner_gone", "forever")},
    }


def _thread(row: ManifestValue, names: dict[int | None, str | None]) -> dict[str, Any]:
    tid = integer_of(row["tid"])
    return {
        "tid": tid,
        "name": names.get(tid) or row["name"].text,
        **{name: row[name].text for name in _OF_THREAD},
        "line": integer_of(row["line"]),
    }

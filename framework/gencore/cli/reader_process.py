"""Runs a program of ours that reads a core, confined, and returns the JSON it printed."""

import importlib.util
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from gencore._confinement.confining import Confinement
from gencore._confinement.running import Outcome, run_reader
from gencore.analysis import answers
from gencore.bundle.cache import UnpackedCore
from gencore.bundle.manifest import ManifestValue
from gencore.cli.budget import limits_apply
from gencore.cli.errors import print_gap
from gencore.errors import IntegrityError, UsageError

__all__ = ["Answer", "Reading", "answer_to", "ask", "check_numpy", "place_of", "read_confined"]

_START: Final = """
import runpy, site, sys
_, places, *sys.argv = sys.argv
sys.path += places.split(chr(10))
site.main()
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""The program with its packages as they were found here, whatever else lies around."""
_ANALYSIS: Final = ("numpy", "gencore", "attr", "attrs")
"""What `gencore.analysis.answers` imports."""
_OUTPUT: Final = 16 << 20
"""Bytes that it may print."""
_MEMORY: Final = 4 << 30
"""Bytes of address space that it may have beside what depends on the core."""
_SECONDS: Final = 120
"""Of CPU time that it may take beside what depends on the core."""
_SIZE_PER_SECOND: Final = 16 << 20
"""Bytes of a core that take it less than a second."""


class Reading(NamedTuple):
    """What a program has read."""

    value: Any
    """None if it failed."""
    failure: str
    """Why, beginning with the program's name."""
    gaps: tuple[str, ...]
    """What of its confinement was impossible, a line each."""
    incomplete: str | None = None
    """Why what it has not found may be there; None if the core has all that it should have."""


class Answer(NamedTuple):
    """What `gencore.analysis.answers` answers."""

    value: ManifestValue
    incomplete: str | None
    """As of a `Reading`."""


def place_of(package: str) -> Path | None:
    """Return the directory in which a package is installed, or None."""
    found = importlib.util.find_spec(package)
    return None if found is None or found.origin is None else Path(found.origin).parents[1]


def check_numpy() -> None:
    """Raise `UsageError` if numpy, which reads objects, is not installed, or our C part is not."""
    if place_of("numpy") is None:
        raise UsageError("numpy is not installed", remedy="pip install 'gencore[analysis]'")
    if place_of("gencore.analysis._blocks") is None:
        raise UsageError("objects are unsupported: this gencore was built without its C part")


def ask(question: str, copy: UnpackedCore, *arguments: str) -> Reading:
    """Return the answer of `gencore.analysis.answers` to a question about a core."""
    program = Path(answers.__path__[0], "__main__.py")
    reading = read_confined(
        question, program, _ANALYSIS, copy, str(copy.folder), question, *arguments
    )
    if reading.value is None:
        return reading
    shown = ManifestValue(reading.value)
    value = reading.value["answer"] if shown["answer"].known else None
    incomplete = shown["incomplete"].text or shown["answer"]["incomplete"].text
    return reading._replace(value=value, incomplete=incomplete)


def answer_to(question: str, path: Path, copy: UnpackedCore, *arguments: str) -> Answer:
    """Return the same, and print what of the confinement was impossible.

    Raises `IntegrityError`, which names *path*, if there is no answer.
    """
    reading = ask(question, copy, *arguments)
    for gap in reading.gaps:
        print_gap(gap)
    if reading.failure:
        raise IntegrityError(f"{path}: {reading.failure}")
    return Answer(ManifestValue(reading.value), reading.incomplete)


def read_confined(
    name: str, program: Path, packages: Iterable[str], copy: UnpackedCore, *arguments: str
) -> Reading:
    """Run *program* on a core.

    It can import those of *packages* that are installed; each may lie somewhere else. Its
    arguments are the core and *arguments*; *name* is what messages call it.
    """
    if not copy.core.is_file():
        return Reading(None, "the core is missing", ())
    places = [*dict.fromkeys(filter(None, map(place_of, packages)))]
    outcome = _run(name, program, places, copy, arguments)
    if outcome.failure is not None:
        return Reading(None, outcome.failure, outcome.gaps)
    try:
        return Reading(json.loads(outcome.output), "", outcome.gaps)
    except (ValueError, RecursionError) as error:
        return Reading(None, f"{name} printed no JSON: {error}", outcome.gaps)


def _run(
    name: str, program: Path, packages: list[Path], copy: UnpackedCore, arguments: Iterable[str]
) -> Outcome:
    path = "\n".join(map(str, packages))
    command = [sys.executable, "-I", "-S", "-c", _START, path, str(program), str(copy.core)]
    command += arguments
    if not limits_apply():
        return run_reader(name, command, None, None)
    size = copy.core.stat().st_size
    cpu_seconds = _SECONDS + size // _SIZE_PER_SECOND
    limits = {"cpu_seconds": cpu_seconds, "memory": _MEMORY + 4 * size, "output": _OUTPUT}
    needed = [*packages, program]
    confinement = Confinement.of(sys.executable, copy.readable, needed, **limits)
    return run_reader(name, command, confinement, 60 + 4 * cpu_seconds)

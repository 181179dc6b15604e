"""How a dump ended: what is missing, what was saved, and the exit code."""

import json
import os
from typing import ClassVar

import attrs
import pytest

import gencore
from gencore import CollectorSpec, CoreFailed, MappedFile, Snapshot
from gencore.testing import SimulatedBackend


class Own(gencore.Collector):
    """Makes one artefact."""

    name = "own"
    api_version = (1, 0)

    def finish(self, dump):
        """Make it."""
        with dump.create("own.txt") as file:
            file.write(b"own")
        return [file.artifact()]


class Silent(Own):
    """Makes nothing."""

    name = "silent"

    def finish(self, _dump):
        """Make nothing."""
        return []


class Skips(Silent):
    """Leaves something out."""

    name = "skips"

    def finish(self, dump):
        """Say so."""
        dump.skip("something", "it was too large")
        return []


class Fails(Silent):
    """Raises an error without an exit code of its own."""

    name = "fails"

    def finish(self, _dump):
        """Raise it."""
        raise ValueError("no")


class TooLate(Silent):
    """Raises an error that has one."""

    name = "too-late"

    def finish(self, _dump):
        """Raise it."""
        raise gencore.TimedOut(1)


class Rival(Own):
    """Takes the name under which its artefact would be published."""

    name = "rival"

    def finish(self, dump):
        """Take it."""
        (self.directory / f"{dump.name}.rival.txt").touch()
        with dump.create("rival.txt") as file:
            file.write(b"own")
        return [file.artifact()]


def optional(collector):
    return CollectorSpec(collector, required=False)


def run(tmp_path, *collectors, backend=None):
    Rival.directory = tmp_path
    pipeline = gencore.Pipeline(
        backend=backend or SimulatedBackend(), collectors=collectors, directory=tmp_path
    )
    return pipeline.run()


@pytest.mark.parametrize(
    ("collectors", "result", "exit_code"),
    [
        ([Own], "complete", 0),
        ([Silent], "complete", 0),
        ([Own, optional(Fails)], "complete", 0),
        ([Own, Fails], "partial", 3),
        ([Own, Skips], "partial", 3),
        ([Own, Rival], "partial", 3),
        ([Fails], "failed", 1),
        ([Skips], "failed", 1),
        ([Silent, Fails], "failed", 1),
        ([optional(TooLate)], "failed", 7),
        ([optional(Fails), optional(TooLate)], "failed", 1),
        ([optional(Fails), TooLate], "failed", 7),
        ([Fails, TooLate], "failed", 1),
        ([TooLate, Fails], "failed", 7),
        ([Rival], "failed", 4),
    ],
)
def test_nothing_saved_is_failed_and_the_first_failure_decides(
    tmp_path, collectors, result, exit_code
):
    """A dump that has saved something is partial; one that made nothing on purpose is complete."""
    report = run(tmp_path, *collectors)

    assert (report.result, report.exit_code) == (result, exit_code)
    assert [a.path.read_bytes() for a in report.artifacts] == [b"own"] * (Own in collectors)


def test_the_error_of_a_dump_that_saved_nothing_is_raised(tmp_path):
    """By the calls that promise one file."""
    with pytest.raises(gencore.TimedOut):
        run(tmp_path, optional(TooLate)).path_of("archive")
    assert os.listdir(tmp_path) == []


class Lost(SimulatedBackend):
    """Cannot list the mapped files, and may have no core."""

    def snapshot(self, *args, **kwargs):
        """Take one whose list of files fails."""
        snapshot = super().snapshot(*args, **kwargs)
        snapshot.mapped_files = lambda: [MappedFile(path="/"), None]
        return snapshot


@pytest.mark.parametrize(
    ("failure", "parts", "exit_code"),
    [
        (None, ["too-late", "libraries"], 7),
        (CoreFailed("read"), ["core", "too-late", "libraries"], 1),
    ],
)
def test_what_costs_most_comes_first(tmp_path, failure, parts, exit_code):
    """The core, then collectors, then the list of libraries, whichever failed first."""
    report = run(tmp_path, TooLate, backend=Lost(failure=failure))

    assert [failed.part for failed in report.failed] == parts
    assert report.exit_code == exit_code


class FourThreads(Snapshot):
    """A snapshot with other threads."""

    phases: ClassVar = {}

    def __init__(self, snapshot, threads):
        self._snapshot, self._threads = snapshot, threads

    threads = property(lambda self: self._threads)

    def core(self):
        """Return its core."""
        return self._snapshot.core()

    def abort(self):
        """Do nothing."""

    def close(self):
        """Do nothing."""


class Blind(SimulatedBackend):
    """Knows no registers of three of its four threads."""

    def snapshot(self, *args, **kwargs):
        """Take one of four threads."""
        snapshot = super().snapshot(*args, **kwargs)
        known, *_ = snapshot.threads
        lost = [
            attrs.evolve(known, registers="missing", reason=reason)
            for reason in ("it ran on", "it ran on", "it has ended")
        ]
        return FourThreads(snapshot, (known, *lost))


def test_threads_without_registers_are_a_warning_with_their_number(tmp_path):
    """In report and manifest; the dump is complete otherwise."""
    report = run(tmp_path, "manifest", backend=Blind())
    manifest = json.loads(report.path_of("manifest").read_text())

    assert report.result == "complete"
    assert report.warnings == (
        "3 of 4 threads have no registers: it ran on (2); it has ended (1)",
    )
    assert manifest["status"]["warnings"] == list(report.warnings)


def test_threads_that_nobody_asked_for_are_no_warning(tmp_path):
    """With threads="caller"."""
    report = gencore.Pipeline(
        backend=Blind(), collectors=["raw"], directory=tmp_path, threads="caller"
    ).run()

    assert report.warnings == ()


def test_a_collector_that_runs_out_of_memory_is_told_with_the_limits(tmp_path):
    """MemoryError has no text of its own."""

    class Large(Silent):
        def finish(self, _dump):
            raise MemoryError

    report = gencore.Pipeline(
        backend=SimulatedBackend(), collectors=[Large, Own], directory=tmp_path
    ).run()

    assert report.result == "partial"
    assert "ulimit -d and -v" in report.failed[0].reason

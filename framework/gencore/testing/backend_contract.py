"""The suite that every backend passes, on every platform where its module imports."""

import contextlib
import mmap
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Literal, TypeVar

import pytest

from gencore._pipeline.pipeline import Pipeline
from gencore.backend import Backend
from gencore.collector import Collector, CoreSink, DumpInProgress
from gencore.corefile import CoreFile
from gencore.errors import CoreFailed, TargetUnavailable, Unsupported
from gencore.exclusion import exclude
from gencore.process import MappedFile
from gencore.request import DumpRequest
from gencore.testing.giving_up import give_up_at
from gencore.testing.rules import ContractSuite, assert_named_well, surroundings
from gencore.verdict import Verdict

__all__ = ["BackendContract"]

Capability = Literal["dump", "mapped-files", "others"]
_OWN: Final = "own"
"""What those can do that take cores and do not dump others."""
_SECRET_SIZE: Final = 64
_LIFE_LIMIT: Final = 10.0
"""Seconds that a process has to be as it was: its clone may be ending still."""
_Test = TypeVar("_Test", bound=Callable[..., None])


def _needs(capability: str) -> Callable[[_Test], _Test]:
    """Mark a test as one of a capability: a suite that does not claim that has no such test."""

    def mark(test: _Test) -> _Test:
        test.needs = capability  # type: ignore[attr-defined]  # functions take any attribute
        return test

    return mark


class _TakesStream(Collector, CoreSink):
    """Writes the bytes that it is given, or takes the backend's file."""

    name = "copies"
    api_version = (1, 1)

    def begin(self, dump: DumpInProgress) -> CoreSink | None:
        """Take the core's bytes."""
        self._file = dump.create("copy")
        return self

    def write(self, chunk: memoryview) -> None:
        """Write them."""
        self._file.write(chunk)

    def abort(self) -> None:
        """Close the file."""
        self._file.close()

    def finish(self, dump: DumpInProgress) -> None:
        """Do no more: the copy is made."""


class _TakesFile(_TakesStream):
    """Lets the backend know that a file is welcome."""

    keeps_core = True


class BackendContract(ContractSuite):
    """Subclass it, and give it the fixture ``backend``: a new object of the backend.

    One that dumps others (`Backend.dumps_others`) is given the fixture ``target`` too.
    """

    capabilities: ClassVar[AbstractSet[Capability]] = frozenset({"dump"})
    """What the backend can do where the tests run: ``dump`` takes cores, ``mapped-files`` names
    the files that were mapped, ``others`` takes cores of another process, and never of its own.
    Without ``dump`` its answer must be no, with reasons."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        able: set[str] = set(cls.capabilities)
        if "dump" in able and "others" not in able:
            able.add(_OWN)
        for name in dir(cls):
            needed = getattr(getattr(cls, name), "needs", None)
            if needed is not None and needed not in able:
                setattr(cls, name, None)

    @pytest.fixture
    def backend(self) -> Backend:
        """Return a new backend."""
        raise NotImplementedError("define a fixture named 'backend'")

    @pytest.fixture
    def target(self) -> int | None:
        """Return the ID of a process to dump, which waits for nothing but a signal.

        Default: None, the one that runs the tests.
        """
        return None

    def test_it_is_named_well(self, backend: Backend) -> None:
        """The loader finds it, and people read what it is."""
        assert_named_well(backend)
        assert isinstance(backend.priority, int), "rule: priority is a whole number"

    def test_the_probe_only_looks(self, backend: Backend, target: int | None) -> None:
        """Asked twice it answers the same, and nothing has changed."""
        first = backend.probe(DumpRequest(target=target))
        before = surroundings(Path.cwd())

        second = backend.probe(DumpRequest(target=target))

        assert surroundings(Path.cwd()) == before, "rule: probe() has no side effect"
        assert first.ok == second.ok, "rule: probe() answers the same while nothing changes"

    @pytest.mark.parametrize("platform", ["linux", "darwin", "win32", "aix", "plan9"])
    def test_the_probe_answers_everywhere(
        self,
        backend: Backend,
        target: int | None,
        monkeypatch: pytest.MonkeyPatch,
        platform: str,
    ) -> None:
        """It never raises: a platform that it does not know is a no with a reason."""
        monkeypatch.setattr(sys, "platform", platform)

        verdict = backend.probe(DumpRequest(target=target))

        assert isinstance(verdict, Verdict), "rule: probe() returns a Verdict"
        assert all(reason.text for reason in verdict.reasons), "rule: a reason has a text"

    def test_it_does_what_it_claims(
        self, backend: Backend, target: int | None, tmp_path: Path
    ) -> None:
        """Where it takes no cores it says no, and a dump ends with that reason."""
        verdict = backend.probe(DumpRequest(target=target))
        if "dump" in self.capabilities:
            assert verdict.ok, f"rule: a capability is there: {verdict.reasons}"
            return
        assert not verdict.ok, "rule: what is not claimed is answered with no"
        pipeline = _pipeline(backend, _TakesFile, tmp_path, target)
        with pytest.raises(Unsupported):
            pipeline.start()
        assert list(tmp_path.iterdir()) == []

    @_needs("dump")
    @pytest.mark.parametrize("copies", [_TakesFile, _TakesStream])
    def test_its_core_is_whole(
        self,
        backend: Backend,
        target: int | None,
        tmp_path: Path,
        copies: type[Collector],
    ) -> None:
        """As a file and as a stream: readable, all there, with the calling thread first."""
        report = _pipeline(backend, copies, tmp_path, target).run()

        assert [f"{part.part}: {part.reason}" for part in report.failed] == []
        assert report.threads, "rule: there is a row for each thread"
        with CoreFile(report.path_of("copies")) as core:
            assert core.why_incomplete() is None, "rule: a core that is not whole says so"
            assert report.threads[0].tid in core.thread_ids, "rule: the caller is in the core"

    @_needs("mapped-files")
    def test_mapped_files_are_named(
        self, backend: Backend, target: int | None, tmp_path: Path
    ) -> None:
        """If it claims to know them: absolute paths, so that a bundle has the libraries."""
        noted: list[MappedFile] = []

        class Notes(_TakesStream):
            def finish(self, dump: DumpInProgress) -> None:
                noted.extend(dump.mapped_files)

        report = _pipeline(backend, Notes, tmp_path, target).run()

        wrong = [f.reason for f in report.failed if f.part == "libraries"]
        assert not wrong, "rule: paths are absolute, and mapped_files() returns files"
        assert noted, "rule: a capability is there: mapped_files() is not empty"

    @_needs("dump")
    def test_nothing_else_is_written(
        self, backend: Backend, target: int | None, tmp_path: Path
    ) -> None:
        """Only the artefacts, and the process is what it was."""
        pipeline = _pipeline(backend, _TakesFile, tmp_path, target)
        pipeline.run()
        before = surroundings(Path.cwd())

        report = pipeline.run()

        assert surroundings(Path.cwd()) == before, "rule: a dump leaves the process as it was"
        assert report.path_of("copies") in set(tmp_path.iterdir())

    @_needs(_OWN)
    @pytest.mark.parametrize("memory", [bytearray, partial(mmap.mmap, -1)])
    def test_excluded_memory_is_not_in_the_core(
        self, backend: Backend, tmp_path: Path, memory: Callable[[int], bytearray]
    ) -> None:
        """`DumpRequest.excluded`, private or shared, is zeros there, or the dump says why not."""
        secret = memory(_SECRET_SIZE)
        for index in range(_SECRET_SIZE):
            secret[index] = secrets.randbelow(256)
        pipeline = Pipeline(backend=backend, collectors=[_TakesFile], directory=tmp_path)
        with exclude(secret), contextlib.suppress(CoreFailed):
            pipeline.run()

        assert any(secret), "rule: what is excluded stays as it is in the process"
        found = [path for path in tmp_path.iterdir() if secret[:] in path.read_bytes()]
        assert not found, "rule: what is excluded is not in the core"

    @_needs("dump")
    def test_a_dump_that_is_given_up_leaves_nothing(
        self, backend: Backend, target: int | None, tmp_path: Path
    ) -> None:
        """In the middle of the core, and at its end: no file, thread or descriptor."""
        _pipeline(backend, _TakesStream, tmp_path, target).run()
        for moment in ("write", "finish"):
            before = surroundings(tmp_path)
            give_up_at(moment, backend, _TakesStream, tmp_path, target=target)
            assert surroundings(tmp_path) == before, "rule: abort() and close() release everything"

    @_needs("others")
    def test_another_process_goes_on_as_it_was(
        self, backend: Backend, target: int, tmp_path: Path
    ) -> None:
        """It runs, and has no child and no tracer that it had not."""
        before = _life_of(target)

        report = _pipeline(backend, _TakesStream, tmp_path, target).run()

        assert report.result == "complete", f"rule: a capability is there: {report.problems}"
        end_by = time.monotonic() + _LIFE_LIMIT
        while (life := _life_of(target)) != before and time.monotonic() < end_by:
            time.sleep(0.01)
        assert life == before, "rule: a process that was dumped goes on as it was"

    @_needs("others")
    def test_a_process_that_has_ended_is_unavailable(self, backend: Backend) -> None:
        """It is no fault of the backend, and no other would do better."""
        with subprocess.Popen([sys.executable, "-I", "-c", ""]) as ended:
            ended.wait()

        answer: object
        try:
            answer = backend.probe(DumpRequest(target=ended.pid))
        except TargetUnavailable as error:
            answer = error

        assert isinstance(answer, TargetUnavailable), (
            f"rule: probe() raises TargetUnavailable for an ended process: {answer}"
        )

    @_needs("others")
    def test_it_takes_no_core_of_its_own_process(self, backend: Backend, tmp_path: Path) -> None:
        """`Backend.dumps_others` says so: it is not even asked."""
        with pytest.raises(Unsupported):
            _pipeline(backend, _TakesStream, tmp_path, None).start()


def _pipeline(
    backend: Backend, collector: type[Collector], directory: Path, target: int | None
) -> Pipeline:
    return Pipeline(backend=backend, collectors=[collector], directory=directory, target=target)


def _life_of(pid: int) -> tuple[list[str], bool]:
    """Return the children of a process, and whether some thread of it is stopped."""
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    states = {(task / "stat").read_text().rpartition(") ")[2][0] for task in tasks}
    return children, bool(states & set("tT"))

"""The suite that every collector passes, on any platform."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gencore._pipeline.pipeline import Pipeline
from gencore.collector import Collector
from gencore.errors import CoreFailed
from gencore.process import ObservedProcess
from gencore.report import Report
from gencore.testing.giving_up import give_up_at
from gencore.testing.rules import (
    ContractSuite,
    assert_checks,
    assert_named_well,
    surroundings,
    watched,
)
from gencore.testing.simulated import SimulatedBackend

__all__ = ["CollectorContract"]

Maker = Callable[[], Collector]


class CollectorContract(ContractSuite):
    """Subclass it, and give it the fixture ``collector``: what returns a new one for each dump."""

    @pytest.fixture
    def collector(self) -> Maker:
        """Return the class, or ``functools.partial`` of it with options."""
        raise NotImplementedError("define a fixture named 'collector'")

    def dump(self, collector: Maker, directory: Path, **backend: Any) -> Report:
        """Make one simulated dump with this collector alone."""
        return Pipeline(
            backend=SimulatedBackend(**backend), collectors=[collector], directory=directory
        ).run()

    def test_it_is_named_well(self, collector: Maker) -> None:
        """The loader finds it, and people read what it is."""
        assert_named_well(collector())

    def test_checking_leaves_nothing(self, collector: Maker, tmp_path: Path) -> None:
        """However often it is asked."""
        before = surroundings(tmp_path, Path.cwd())

        assert_checks(collector())
        assert_checks(collector())

        after = surroundings(tmp_path, Path.cwd())
        assert after == before, "rule: check() leaves nothing behind"

    def test_observing_does_nothing_slow(self, collector: Maker) -> None:
        """Inside the pause nothing is imported, opened, connected or started."""
        process = ObservedProcess()
        process.python_threads()
        made = collector()
        with watched() as done:
            returned: object = made.observe(process)  # type: ignore[func-returns-value]  # one that breaks the rule does
        assert not done, "rule: observe() must not import, open or start anything"
        assert returned is None, "rule: observe() returns None, and is not a coroutine"

    def test_a_dump_is_complete(self, collector: Maker, tmp_path: Path) -> None:
        """Each artefact is a file of the dump, and no other file is written."""
        report = self.dump(collector, tmp_path)

        assert [f"{part.part}: {part.reason}" for part in report.failed] == []
        paths = {artifact.path for artifact in report.artifacts if artifact.path}
        written = {*tmp_path.iterdir(), *Path.cwd().iterdir()}
        assert written == paths, "rule: files come from dump.create"

    def test_any_core_is_taken(self, collector: Maker, tmp_path: Path) -> None:
        """In pieces of any size, and of any content."""
        for size in (7, 4096, 1 << 20):
            report = self.dump(collector, tmp_path, memory=b"\xff" * 70_000, chunk_size=size)
            assert [f"{part.part}: {part.reason}" for part in report.failed] == []

    def test_a_core_that_failed_is_not_its_failure(self, collector: Maker, tmp_path: Path) -> None:
        """`DumpInProgress.core` is None then; the collector does what it can without."""
        failure = CoreFailed("simulated", detail="on purpose")

        report = self.dump(collector, tmp_path, failure=failure)

        own = [f"{part.part}: {part.reason}" for part in report.failed if part.part != "core"]
        assert own == [], "rule: finish() works without a core, or returns nothing"

    def test_a_dump_leaves_the_process_as_it_was(self, collector: Maker, tmp_path: Path) -> None:
        """No thread, child, descriptor, environment variable or signal handler is left."""
        self.dump(collector, tmp_path)
        before = surroundings()

        self.dump(collector, tmp_path)

        assert surroundings() == before, "rule: a dump leaves the process as it was"

    def test_its_artifacts_have_names_of_their_own(self, collector: Maker, tmp_path: Path) -> None:
        """In a dump with gencore's own collectors, whose names nobody else can take."""
        made = collector()
        others = [name for name in ("raw", "manifest", "archive") if name != made.name]
        if made.packs or made.keeps_core:
            others = [name for name in others if name == "manifest"]

        report = Pipeline(
            backend=SimulatedBackend(), collectors=[*others, collector], directory=tmp_path
        ).run()

        failed = [f"{part.part}: {part.reason}" for part in report.failed]
        assert failed == [], "rule: names of artefacts are its own"

    def test_a_dump_that_is_given_up_leaves_nothing(
        self, collector: Maker, tmp_path: Path
    ) -> None:
        """In the middle of the core, and at its end: no file, thread or descriptor is left."""
        self.dump(collector, tmp_path)  # whatever is imported or opened once is there now
        for moment in ("write", "finish"):
            before = surroundings(tmp_path)
            give_up_at(moment, SimulatedBackend(memory=bytes(70_000)), collector, tmp_path)
            assert surroundings(tmp_path) == before, "rule: abort() releases everything"

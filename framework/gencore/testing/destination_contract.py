"""The suite that every destination passes, on any platform."""

import hashlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from gencore._pipeline.pipeline import Pipeline
from gencore.destination import Destination
from gencore.report import Report
from gencore.testing.giving_up import give_up_at
from gencore.testing.pieces import sample, write_in_pieces
from gencore.testing.rules import (
    ContractSuite,
    assert_aborts,
    assert_checks,
    assert_named_well,
    assert_same,
    surroundings,
    until_threads_end,
)
from gencore.testing.simulated import SimulatedBackend

__all__ = ["DestinationContract"]

Maker = Callable[[], Destination]
_MEMORY: Final = sample(3 << 20)
_NAME: Final = "dump.core"


class DestinationContract(ContractSuite):
    """Subclass it, and give it the fixture ``destination``: what returns a new one for each dump.

    The place that it writes to is empty when a test begins; `read` and `names` look there.
    """

    @pytest.fixture
    def destination(self) -> Maker:
        """Return the class, or ``functools.partial`` of it with options."""
        raise NotImplementedError("give the suite a fixture named 'destination'")

    def read(self, location: str | Path) -> bytes:
        """Return what is at a *location* that `Upload.commit` returned. Default: it is a file."""
        return Path(location).read_bytes()

    def names(self) -> Collection[str]:
        """Return the names of what others can see at the place."""
        raise NotImplementedError("give the suite a method named 'names'")

    def leftovers(self) -> Collection[str]:
        """Return the names of all that is at the place, unfinished or not. Default: `names`."""
        return self.names()

    def _read_at_once(self, location: str | Path) -> bytes:
        try:
            return self.read(location)
        except Exception as error:
            raise AssertionError(
                f"rule: what is committed is there when commit() returns: {error!r}"
            ) from error

    def dump(self, destination: Maker, directory: Path) -> Report:
        """Make one simulated dump whose bundle goes to the destination."""
        return Pipeline(
            backend=SimulatedBackend(_MEMORY, chunk_size=1 << 20),
            collectors=["archive"],
            directory=directory,
            destination=destination,
        ).run()

    def test_it_is_named_well(self, destination: Maker) -> None:
        """The loader finds it, and people read what it is."""
        assert_named_well(destination())

    def test_checking_leaves_nothing(self, destination: Maker, tmp_path: Path) -> None:
        """Neither at the place nor in the process, however often it is asked."""
        before = surroundings(tmp_path, Path.cwd()), set(self.names())

        assert_checks(destination())
        assert_checks(destination())

        after = surroundings(tmp_path, Path.cwd()), set(self.names())
        assert after == before, "rule: check() leaves nothing behind"

    @pytest.mark.parametrize("size", [0, 1, 70_000, 3 << 20])
    def test_what_is_committed_is_what_was_written(self, destination: Maker, size: int) -> None:
        """Bytes of any number, in pieces of any size, each valid only while it is taken."""
        upload = destination().open(_NAME, size)
        write_in_pieces(upload, sample(size), (1, 4096, 1 << 20))
        location = upload.commit()

        assert isinstance(location, str | Path), "rule: commit() returns a URL or a Path"
        has_scheme = isinstance(location, Path) or urlsplit(location).scheme != ""
        assert has_scheme, "rule: commit() returns a URL or a Path"
        assert_same(
            self._read_at_once(location),
            sample(size),
            "rule: what is committed is what was written",
        )

    def test_a_piece_is_taken_whole(self, destination: Maker) -> None:
        """However large it is: what is left of it is not offered again, as with a socket."""
        upload = destination().open(_NAME, None)
        piece = memoryview(sample(1 << 20))
        returned: object = upload.write(piece)
        assert_aborts(upload.abort)

        assert returned in {None, len(piece)}, "rule: write() takes all that it is given"

    def test_nothing_appears_before_commit(self, destination: Maker) -> None:
        """Nobody takes half an artefact for a whole one."""
        upload = destination().open(_NAME, None)
        write_in_pieces(upload, sample(70_000))
        seen = set(self.names())
        assert_aborts(upload.abort)

        assert not seen, "rule: nothing appears before commit()"

    def test_abort_leaves_nothing(self, destination: Maker, tmp_path: Path) -> None:
        """From whatever thread, whether anything was written, and also a little later."""
        assert_aborts(destination().open("first.core", None).abort)  # what is loaded is there now
        for size in (0, 70_000):
            before = surroundings(tmp_path)
            with until_threads_end():
                upload = destination().open(_NAME, size)
                write_in_pieces(upload, sample(size))
                assert_aborts(upload.abort)
            assert not set(self.leftovers()), "rule: abort() leaves nothing at the place"
            assert surroundings(tmp_path) == before, "rule: abort() releases everything"

    def test_a_name_is_never_replaced(self, destination: Maker) -> None:
        """What was there first stays; the second is refused, or goes elsewhere."""
        first, second = sample(1000, seed=1), sample(1000, seed=2)
        location = _send(destination(), first)
        before = set(self.leftovers())
        try:
            elsewhere = _send(destination(), second)
        except AssertionError:
            raise
        except Exception:
            elsewhere = None
            left = set(self.leftovers()) - before
            assert not left, "rule: abort() leaves nothing of a commit() that raised"

        assert_same(self.read(location), first, "rule: a name is never replaced")
        if elsewhere is not None:
            assert_same(self.read(elsewhere), second, "rule: what cannot be sent is an error")

    def test_two_uploads_do_not_mix(self, destination: Maker) -> None:
        """A dump may make several artefacts at once."""
        place = destination()
        one, two = place.open("one.core", None), place.open("two.core", None)
        for number in range(20):
            write_in_pieces(one, sample(1000, seed=number))
            write_in_pieces(two, sample(1000, seed=-1 - number))
        sent = self.read(one.commit()), self.read(two.commit())

        expected = (
            b"".join(sample(1000, seed=number) for number in range(20)),
            b"".join(sample(1000, seed=-1 - number) for number in range(20)),
        )
        assert_same(sent, expected, "rule: two uploads do not mix")

    def test_a_dump_is_complete(self, destination: Maker, tmp_path: Path) -> None:
        """A bundle is sent while it is made; the report says where it is, and what it is."""
        report = self.dump(destination, tmp_path)

        assert [f"{part.part}: {part.reason}" for part in report.failed] == []
        (artifact,) = report.artifacts
        data = self.read(artifact.path or artifact.url or "")
        found = len(data), hashlib.sha256(data).hexdigest()
        assert found == (artifact.size, artifact.sha256), "rule: what is reported is there"

    def test_a_dump_that_is_given_up_leaves_nothing(
        self, destination: Maker, tmp_path: Path
    ) -> None:
        """In the middle of the core, and at its end."""
        backend = SimulatedBackend(_MEMORY, chunk_size=1 << 20)
        give_up_at("write", backend, "raw", tmp_path, destination=destination)
        for moment in ("write", "finish"):
            before = surroundings(tmp_path)
            give_up_at(moment, backend, "raw", tmp_path, destination=destination)
            left = surroundings(tmp_path) != before or set(self.leftovers())
            assert not left, "rule: a cancelled dump leaves nothing"

    def test_a_dump_leaves_the_process_as_it_was(self, destination: Maker, tmp_path: Path) -> None:
        """No thread, descriptor, environment variable or signal handler is left."""
        self.dump(destination, tmp_path)
        before = surroundings(Path.cwd())

        self.dump(destination, tmp_path)

        assert surroundings(Path.cwd()) == before, "rule: commit() releases everything"


def _send(destination: Destination, data: bytes) -> str | Path:
    upload = destination.open(_NAME, len(data))
    try:
        write_in_pieces(upload, data)
        return upload.commit()
    except BaseException:
        assert_aborts(upload.abort)
        raise

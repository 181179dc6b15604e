"""The suite that every filter passes, on any platform."""

import gc
import io
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import pytest

from gencore._pipeline.pipeline import Pipeline
from gencore._plugins.names import is_suffix
from gencore.destination import Destination, Upload
from gencore.filter import ByteSink, Filter
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

__all__ = ["FilterContract"]

Maker = Callable[[], Filter]
_MEMORY: Final = sample(70_000)
_SIZES: Final = (0, 1, 70_000, 3 << 20)
_PIECES: Final = ((1, 7, 4096, 70_001, 1 << 20), (4096,), (1 << 20,))


class FilterContract(ContractSuite):
    """Subclass it, and give it the fixture ``filter``: what returns a new one for each dump."""

    @pytest.fixture
    def filter(self) -> Maker:
        """Return the class, or ``functools.partial`` of it with options."""
        raise NotImplementedError("give the suite a fixture named 'filter'")

    def undo(self, data: bytes) -> bytes:
        """Return what the filter made *data* of."""
        raise NotImplementedError("give the suite a method named 'undo'")

    @pytest.fixture
    def maker(self, request: pytest.FixtureRequest) -> Maker:
        """Return what ``filter`` returns; as an argument that would hide Python's own."""
        return cast("Maker", request.getfixturevalue("filter"))

    def dump(self, maker: Maker, directory: Path, **options: Any) -> Report:
        """Make one simulated dump whose bundle and core pass the filter."""
        return Pipeline(
            backend=SimulatedBackend(_MEMORY),
            collectors=["raw", "archive"],
            directory=directory,
            **{"filters": [maker], **options},
        ).run()

    def test_it_is_named_well(self, maker: Maker) -> None:
        """The loader finds it, people read what it is, and files show that it was used."""
        made = maker()

        assert_named_well(made)
        assert isinstance(made.suffix, str), "rule: a filter has a suffix"
        assert made.suffix[:1] == ".", "rule: a suffix begins with '.'"
        assert made.suffix[1:].isprintable(), "rule: a suffix is printable text without '/'"
        assert made.suffix[1:], "rule: a suffix is more than '.'"
        assert "/" not in made.suffix, "rule: a suffix is printable text without '/'"
        assert is_suffix(made.suffix), "rule: a suffix has at most 32 bytes"

    def test_checking_leaves_nothing(self, maker: Maker, tmp_path: Path) -> None:
        """However often it is asked."""
        before = surroundings(tmp_path, Path.cwd())

        assert_checks(maker())
        assert_checks(maker())

        after = surroundings(tmp_path, Path.cwd())
        assert after == before, "rule: check() leaves nothing behind"

    @pytest.mark.parametrize("pieces", _PIECES, ids=["mixed", "4096", "1 MiB"])
    @pytest.mark.parametrize("size", _SIZES)
    def test_it_can_be_undone(self, maker: Maker, size: int, pieces: Iterable[int]) -> None:
        """Bytes of any number, in pieces of any size, each valid only while it is taken."""
        data = sample(size)
        made = _filtered(maker(), data, pieces)
        assert_same(self.undo(made), data, "rule: what comes out can be undone")

    def test_single_bytes_can_be_undone(self, maker: Maker) -> None:
        """However many there are."""
        data = sample(70_000)
        made = _filtered(maker(), data, (1,))
        assert_same(self.undo(made), data, "rule: pieces of one byte can be undone")

    def test_closing_writes_the_rest(self, maker: Maker) -> None:
        """And leaves the writer open: it is the framework's, and another filter may follow."""
        writer = _Writer()
        sink = maker().open(cast("BinaryIO", writer))
        write_in_pieces(sink, sample(6999))
        sink.close()

        assert not writer.closed, "rule: close() does not close the writer"
        assert_same(self.undo(bytes(writer.data)), sample(6999), "rule: close() writes the rest")

    def test_nothing_is_written_after_close(self, maker: Maker) -> None:
        """Neither by a thread nor by a destructor: the artefact has been published since."""
        writer = _Writer()
        with until_threads_end():
            sink = maker().open(cast("BinaryIO", writer))
            write_in_pieces(sink, sample(6999))
            sink.close()
            closed = len(writer.data)
            del sink
            gc.collect()

        assert len(writer.data) == closed, "rule: nothing is written after close()"

    def test_a_second_close_writes_nothing(self, maker: Maker) -> None:
        """As a trailer that is there twice would; it may raise."""
        writer = _Writer()
        sink = maker().open(cast("BinaryIO", writer))
        write_in_pieces(sink, sample(6999))
        sink.close()
        closed = len(writer.data)
        with suppress(Exception), until_threads_end():
            sink.close()

        assert len(writer.data) == closed, "rule: a second close() writes nothing"

    def test_artifacts_are_independent(self, maker: Maker) -> None:
        """Of several in one dump each can be undone without the others."""
        used = maker()
        writers = _Writer(), _Writer()
        sinks = [used.open(cast("BinaryIO", writer)) for writer in writers]
        for number in range(20):
            for seed, sink in enumerate(sinks):
                write_in_pieces(sink, sample(1000, seed=seed + 2 * number))
        for sink in reversed(sinks):
            sink.close()

        expected = [
            b"".join(sample(1000, seed=seed + 2 * number) for number in range(20))
            for seed in range(2)
        ]
        undone = [self.undo(bytes(writer.data)) for writer in writers]
        assert_same(undone, expected, "rule: artefacts of one dump are independent")

    @pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
    def test_abort_releases_everything(self, maker: Maker, closed: bool) -> None:  # noqa: FBT001 - a parameter of a test
        """From whatever thread, before and after ``close``; without ``abort``, ``close`` does."""
        _give_up(maker(), closed=closed)  # what is loaded once is there now
        before = surroundings(Path.cwd())

        written = _give_up(maker(), closed=closed)

        assert not written, "rule: abort() writes nothing"
        assert surroundings(Path.cwd()) == before, "rule: abort() releases everything"

    def test_a_dump_is_complete(self, maker: Maker, tmp_path: Path) -> None:
        """A core and a bundle at once; each undone is what it would be without the filter."""
        plain: list[bytearray] = []
        sent: dict[str, bytearray] = {}

        report = self.dump(
            maker,
            tmp_path,
            filters=[lambda: _Notes(plain), maker],
            destination=lambda: _Keeps(sent),
        )

        assert [f"{part.part}: {part.reason}" for part in report.failed] == []
        undone = sorted(self.undo(bytes(data)) for data in sent.values())
        assert_same(undone, sorted(map(bytes, plain)), "rule: a dump undone is the unfiltered one")

    def test_a_dump_that_is_given_up_leaves_nothing(self, maker: Maker, tmp_path: Path) -> None:
        """In the middle of the core, and at its end."""
        backend = SimulatedBackend(_MEMORY)
        give_up_at("write", backend, "raw", tmp_path, filters=[maker])
        for moment in ("write", "finish"):
            before = surroundings(tmp_path)
            give_up_at(moment, backend, "raw", tmp_path, filters=[maker])
            assert surroundings(tmp_path) == before, "rule: a cancelled dump leaves nothing"

    def test_a_dump_leaves_the_process_as_it_was(self, maker: Maker, tmp_path: Path) -> None:
        """No thread, descriptor, environment variable or signal handler is left."""
        self.dump(maker, tmp_path)
        before = surroundings(Path.cwd())

        self.dump(maker, tmp_path)

        assert surroundings(Path.cwd()) == before, "rule: a dump leaves the process as it was"


def _filtered(used: Filter, data: bytes, pieces: Iterable[int]) -> bytes:
    writer = _Writer()
    sink = used.open(cast("BinaryIO", writer))
    write_in_pieces(sink, data, pieces)
    sink.close()
    return bytes(writer.data)


def _give_up(used: Filter, *, closed: bool) -> int:
    """Give up one artefact as the framework does; return how many bytes ``abort`` wrote."""
    writer = _Writer()
    with until_threads_end():
        sink = used.open(cast("BinaryIO", writer))
        write_in_pieces(sink, sample(6999))
        if closed or not hasattr(sink, "abort"):
            sink.close()
        size = len(writer.data)
        assert_aborts(getattr(sink, "abort", lambda: None))
    return len(writer.data) - size


class _Writer(io.RawIOBase):
    """Keeps what is written to it, also when it was closed."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.data += data
        return len(data)


class _Notes(Filter):
    """Changes nothing, and notes what passes."""

    name = "notes"
    api_version = (1, 1)
    suffix = ".notes"

    def __init__(self, passed: list[bytearray]) -> None:
        self._passed = passed

    def open(self, writer: BinaryIO) -> ByteSink:
        """Note one artefact."""
        noted = bytearray()
        self._passed.append(noted)
        return _Noted(writer, noted)


class _Noted:
    def __init__(self, writer: BinaryIO, noted: bytearray) -> None:
        self._writer = writer
        self._noted = noted

    def write(self, data: memoryview, /) -> None:
        self._noted += data
        self._writer.write(data)

    def close(self) -> None:
        """Do nothing: it holds nothing back."""


class _Keeps(Destination):
    """Keeps artefacts in memory."""

    name = "keeps"
    api_version = (1, 1)

    def __init__(self, kept: dict[str, bytearray]) -> None:
        self._kept = kept

    def open(self, name: str, size_hint: int | None) -> Upload:  # noqa: ARG002
        """Keep one."""
        return _Kept(self._kept, name)


class _Kept(Upload):
    def __init__(self, kept: dict[str, bytearray], name: str) -> None:
        self._kept = kept
        self._name = name
        self._data = bytearray()

    def write(self, data: memoryview) -> None:
        self._data += data

    def commit(self) -> str:
        self._kept[self._name] = self._data
        return f"memory:{self._name}"

    def abort(self) -> None:
        self._data.clear()

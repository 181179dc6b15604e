"""The filter keeps gencore's rules, and makes files that others can read."""

import pytest
import zstandard

from gencore import FilterSpec, Pipeline, UsageError
from gencore.corefile import CoreFile
from gencore.testing import FilterContract, SimulatedBackend
from gencore_zstd import Zstd


class TestZstd(FilterContract):
    @pytest.fixture
    def filter(self):
        return Zstd

    def undo(self, data):
        return zstandard.ZstdDecompressor().stream_reader(data).read()


def test_a_core_is_smaller_and_still_a_core(tmp_path):
    """Once it is decompressed."""
    pipeline = Pipeline(
        backend=SimulatedBackend(bytes(1 << 20)),
        collectors=["raw"],
        filters=[FilterSpec(Zstd, options={"level": 1})],
        directory=tmp_path,
    )

    path = pipeline.run().path_of("raw")
    with path.open("rb") as packed, (tmp_path / "core").open("wb") as core:
        zstandard.ZstdDecompressor().copy_stream(packed, core)

    assert path.suffixes[-2:] == [".core", ".zst"]
    assert path.stat().st_size < 10_000
    with CoreFile(tmp_path / "core") as core:
        assert core.why_incomplete() is None


def test_a_frame_that_is_damaged_is_noticed(tmp_path):
    """By its checksum."""
    report = Pipeline(
        backend=SimulatedBackend(), collectors=["raw"], filters=[Zstd], directory=tmp_path
    ).run()
    data = bytearray(report.path_of("raw").read_bytes())
    data[-1] ^= 1

    with pytest.raises(zstandard.ZstdError, match="checksum"):
        zstandard.ZstdDecompressor().stream_reader(bytes(data)).read()


def test_the_level_is_known_to_zstandard(tmp_path):
    """What is wrong is found before any dump."""
    with pytest.raises(UsageError, match="level=20: expected int from 1 to 19"):
        Pipeline(filters=[FilterSpec(Zstd, options={"level": 20})], directory=tmp_path)

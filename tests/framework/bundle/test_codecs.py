"""What only one of the codecs has to refuse, and what is said where its library is missing."""

import sys

import pytest

from gencore import IntegrityError, UsageError
from gencore.bundle.codecs import ZSTD
from gencore.bundle.zstd_library import zstd_library
from gencore_collectors.archive import ZstdArchiveCollector

WITHOUT_CHECK_SUM = {"checksum_flag": 0}
WITHOUT_SIZE = {"checksum_flag": 1, "content_size_flag": 0}
LARGE_WINDOW = {"checksum_flag": 1, "window_log": 24}


def frame(data, options, pieces=1):
    """Return a frame of zstd as somebody else makes it, a window's worth of *pieces* in it."""
    zstd = zstd_library()
    named = {getattr(zstd.CompressionParameter, name): value for name, value in options.items()}
    compressor = zstd.ZstdCompressor(options=named)
    compressor.set_pledged_input_size(len(data) * pieces)
    parts = [compressor.compress(data) for _ in range(pieces - 1)]
    return b"".join(parts) + compressor.compress(data, compressor.FLUSH_FRAME)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (frame(b"data", WITHOUT_CHECK_SUM), "invalid zstd header"),
        (frame(b"data", WITHOUT_SIZE), "invalid zstd header"),
        (frame(bytes(1 << 20), LARGE_WINDOW, 20), "too much memory"),
        (ZSTD.hide(b"XX", b"hidden"), "invalid zstd header"),
    ],
    ids=["no check sum", "no size", "window of 16 MiB", "skippable"],
)
def test_a_frame_that_no_bundle_has_is_refused(data, match):
    """It could hold what others do not see, or cost more memory than it says."""
    with pytest.raises(IntegrityError, match=match):
        ZSTD.decompress(data, 100)


def test_only_exactly_one_frame_is_taken():
    """Neither half of one nor what is behind it."""
    whole = ZSTD.compressor(1)(b"data")

    assert ZSTD.decompress(whole, 100) == b"data"
    assert ZSTD.decompress(whole[:-1], 100) is None
    assert ZSTD.decompress(whole + ZSTD.hide(b"XX", b""), 100) is None


def test_a_missing_library_is_said_before_the_pause(monkeypatch):
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    monkeypatch.delattr("backports.zstd", raising=False)
    monkeypatch.setattr(sys, "version_info", (3, 13))

    with pytest.raises(UsageError, match=r"needs the package backports\.zstd") as refused:
        ZstdArchiveCollector().check()
    assert refused.value.remedy == "pip install 'gencore[zstd]'"

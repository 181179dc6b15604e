"""Files that have holes where zeros are written."""

import io
import os

import pytest

from gencore._sparse_file import SparseFile

KIB = 1 << 10
PIECES = [b"a", bytes(64 * KIB), os.urandom(100 * KIB), bytes(300 * KIB), b"b" * 7, bytes(1000)]


def sparse(path):
    """Return a file that looks for zeros."""
    file = SparseFile(path, "wb")
    file.leaves_holes = True
    return file


@pytest.mark.parametrize("last", [b"end", bytes(64 * KIB), bytes(7)])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_file_with_holes_has_the_bytes_that_were_written(tmp_path, at_once, last):
    """Also if it ends with zeros, and however they come."""
    data = b"".join((*PIECES, last))

    with io.BufferedWriter(sparse(tmp_path / "file")) as file:
        for piece in [data] if at_once else (*PIECES, last):
            file.write(piece)

    assert (tmp_path / "file").read_bytes() == data


def test_zeros_take_no_space(tmp_path):
    """Those between data, and those at the end."""
    with sparse(tmp_path / "file") as file:
        file.write(b"a" + bytes(4096 * KIB) + b"b" + bytes(4096 * KIB))

    assert (tmp_path / "file").stat().st_blocks * 512 < 300 * KIB


def test_a_part_is_reported_as_a_part(tmp_path):
    """What a file may not hold is an error of the rest, as it is without holes."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200 * KIB, hard))
    try:
        with sparse(tmp_path / "file") as file:
            assert file.write(bytes(64 * KIB) + b"a" * 300 * KIB) == 200 * KIB
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)

"""Bundles that expand without end are read, or refused, in bounded memory."""

import json
import resource
import struct
import subprocess
import sys

import pytest
from forged_bundle import encode_1

from gencore.bundle.codecs import CODECS, GZIP, ZSTD
from gencore.bundle.contents import BLOCK_SIZE, Member, encode

TOP = "core_20260101.000000.1.001"
GIB = 1 << 30
MOST_MEMORY = 700 << 20
MANIFEST = json.dumps({"process": {"executable": {"path": "/core"}}}).encode()
EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")
IDENT = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")


def core(headers=(), *, count=None, extra=b"", section_offset=0):
    """Return the beginning of an ELF core."""
    count = len(headers) if count is None else count
    file = EHDR.pack(IDENT, 4, 62, 1, 0, 64, section_offset, 0, 64, 56, count, 64, 1, 0)
    return file + b"".join(headers) + extra


def note(size):
    return PHDR.pack(4, 0, 64 + 56, 0, 0, size, 0, 4)


MAPPED = struct.pack("<QQ", 1 << 60, 4096)
FILES = b"CORE\0\0\0\0" + MAPPED
SECTION = struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, 0xFFFFFFF0, 0, 0)
CORES = {
    "zeros": b"",
    "a giant note": core([note(9 * GIB)], extra=struct.pack("<III", 5, (1 << 32) - 8, 1)),
    "many notes": core([note(100 << 20)]),
    "mapped files": core(
        [note(12 + len(FILES))], extra=struct.pack("<III", 5, 16, 0x46494C45) + FILES
    ),
    "program headers": core([SECTION], count=0xFFFF, section_offset=64),
}


def tar_header(name, size):
    import tarfile

    info = tarfile.TarInfo(f"{TOP}/{name}")
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


NEWEST = max(ZSTD.versions)
FORMATS = [
    pytest.param(
        (version, codec),
        id=f"{codec.name}-{version}",
        marks=[pytest.mark.exhaustive] * (version == NEWEST and codec is GZIP),
    )
    for codec in CODECS
    for version in codec.versions
]


@pytest.fixture(params=FORMATS)
def bomb(request, tmp_path):
    """Return a function that writes a bundle whose core begins so and has *size* bytes.

    It has a thousandth of that itself, or less.
    """
    version, codec = request.param
    compress = codec.compressor(codec.level)

    def write(beginning, size=10 * GIB, filler=b"\0"):
        first = compress(beginning.ljust(BLOCK_SIZE, filler))
        rest = [compress(filler * BLOCK_SIZE)] * (size // BLOCK_SIZE - 1)
        core = [compress(tar_header("core", size)), first, *rest]
        manifest = [
            compress(tar_header("manifest.json", len(MANIFEST))),
            compress(MANIFEST.ljust(512, b"\0")),
        ]
        lengths = [tuple(map(len, frames)) for frames in (core, manifest)]
        members = [
            Member("core", size, 0, lengths=lengths[0]),
            Member("manifest.json", len(MANIFEST), sum(lengths[0]), lengths=lengths[1]),
        ]
        data = b"".join([*core, *manifest, compress(bytes(1024))])
        if version == 1:
            table = encode_1(TOP, members, len(data))
        else:
            table = encode(TOP, members, len(data), codec)
        path = tmp_path / f"bundle.{codec.extension}"
        path.write_bytes(data + table)
        assert len(data) < size // 500
        return path

    return write


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))


def run(directory, *words):
    return subprocess.run(
        [sys.executable, "-m", "gencore", *words],
        cwd=directory,
        env={"XDG_CACHE_HOME": str(directory / "cache")},
        capture_output=True,
        text=True,
        preexec_fn=limited,
        check=False,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "kind",
    [
        *(kind for kind in CORES if kind != "many notes"),
        pytest.param("many notes", marks=pytest.mark.exhaustive),
    ],
)
def test_gibibytes_are_checked_in_bounded_memory(tmp_path, bomb, kind):
    """Also where the core claims tables that are as large."""
    path = bomb(CORES[kind], 2 * GIB)

    info, checked = run(tmp_path, "info", path), run(tmp_path, "verify", path)

    assert info.returncode == 0
    assert checked.returncode == 8
    assert "Traceback" not in checked.stderr
    assert "WRONG" in checked.stdout or checked.stderr.startswith("gencore: ")


@pytest.mark.timeout(300)
def test_zeros_become_holes(tmp_path, bomb):
    """They cost no disk."""
    size = GIB  # more than the memory
    path = bomb(b"x", size)

    done = run(tmp_path, "extract", path)

    unpacked = tmp_path / TOP / "core"
    assert done.returncode == 0, done.stderr
    assert unpacked.stat().st_size == size
    assert unpacked.stat().st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("command", [["extract"], ["open", "--print"]])
def test_what_does_not_fit_on_the_disk_leaves_nothing(bomb, tmpfs, command):
    """It ends where the disk does."""
    path = bomb(b"x", filler=b"x")
    disk = tmpfs("size=64m")

    done = run(disk, *command, path)

    assert done.returncode == 4
    assert "writing the files failed (ENOSPC)" in done.stderr
    assert [found for found in disk.rglob("*") if found.is_file()] == []

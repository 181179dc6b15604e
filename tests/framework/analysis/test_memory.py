"""The memory of a core whose headers and files may say anything."""

import io
import os
import struct
from pathlib import Path

import pytest

from gencore.analysis import AbsentMemory, Memory, Piece
from gencore.analysis.interpreter import memory as memory_module
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

PAGE = 4096
BASE = 0x400000


def core_of(path, segments, mapped=(), *, memory=b""):
    """Write a core of (address, file size, memory size, offset) and of NT_FILE rows."""
    paths = b"".join(os.fsencode(str(row[0])) + b"\0" for row in mapped)
    rows = b"".join(struct.pack("<QQQ", *row[1:]) for row in mapped)
    table = struct.pack("<QQ", len(mapped), 1) + rows + paths
    note = struct.pack("<III", 5, len(table), 0x46494C45) + b"CORE\0\0\0\0" + table
    count = len(segments) + 1
    at = 64 + 56 * count
    headers = struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, len(note), 0, 4)
    for address, file_size, memory_size, offset in segments:
        headers += struct.pack("<IIQQQQQQ", 1, 6, offset, address, 0, file_size, memory_size, PAGE)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", identity, 4, 62, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0
    )
    path.write_bytes((head + headers + note).ljust(PAGE, b"\0") + memory)
    return path


@pytest.fixture
def memory_of(tmp_path):
    """Return a function that writes a core and opens its memory."""

    def open_memory(segments, mapped=(), *, memory=b"", folder=None, **how):
        path = core_of(tmp_path / "core", segments, mapped, memory=memory)
        with CoreFile(path) as core:
            return Memory.of_core(core, path, folder, **how)

    return open_memory


def test_memory_is_read_where_the_headers_have_it(memory_of):
    """Words, numbers with a sign, strings, and bytes across two pieces that touch."""
    data = struct.pack("<Qi", 1 << 63, -7) + b"name\0" + bytes(PAGE)
    memory = memory_of([(BASE, 16, 16, PAGE), (BASE + 16, PAGE, PAGE, PAGE + 16)], memory=data)

    assert memory.word(BASE) == 1 << 63
    assert memory.number(BASE + 8, 4) == -7
    assert memory.string(BASE + 12) == b"name"
    assert memory.read(BASE + 8, 12) == data[8:20]


@pytest.mark.parametrize(
    ("address", "size"),
    [
        (0, 8),
        (BASE - 1, 8),
        (BASE + PAGE - 4, 8),
        (BASE, 1 << 60),
        ((1 << 64) - 4, 8),
        (BASE, PAGE + 1),
    ],
)
def test_what_is_missing_is_an_error_of_its_own(memory_of, address, size):
    """Wherever it lies, and without a buffer of the size that was asked for."""
    memory = memory_of([(BASE, PAGE, PAGE, PAGE)], memory=bytes(PAGE))

    with pytest.raises(AbsentMemory, match="missing"):
        memory.read(address, size)
    if size == 8:
        with pytest.raises(AbsentMemory):
            memory.word(address)


def test_a_truncated_core_has_what_is_left(memory_of):
    """The header claims more than the file, and a second one lies beyond its end."""
    memory = memory_of(
        [(BASE, 4 * PAGE, 4 * PAGE, PAGE), (BASE * 2, PAGE, PAGE, 1 << 62)], memory=b"x" * PAGE
    )

    assert memory.read(BASE, PAGE) == b"x" * PAGE
    for address in (BASE + PAGE, BASE * 2):
        with pytest.raises(AbsentMemory):
            memory.read(address, 1)


def test_headers_that_overlap_are_one_memory():
    """Each address has one content, and is found."""
    first, second = memoryview(b"a" * 32), memoryview(b"b" * 32)
    memory = Memory(
        [
            Piece(BASE + 8, BASE + 40, second, 0, writable=True, path=None),
            Piece(BASE, BASE + 16, first, 0, writable=True, path=None),
            Piece(BASE + 4, BASE + 12, second, 0, writable=True, path=None),
        ]
    )

    assert memory.read(BASE, 40) == b"a" * 16 + b"b" * 24


@pytest.fixture
def folder(tmp_path):
    """Return an unpacked bundle with one library of three pages."""
    library = tmp_path / "bundle" / "lib" / "libx.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"1" * PAGE + b"2" * PAGE + b"3" * 100)
    return tmp_path / "bundle"


def test_pages_that_the_core_lacks_are_those_of_the_bundle(memory_of, folder):
    """Before, between and behind those that it has, and no further than the file goes."""
    memory = memory_of(
        [(BASE, 0, PAGE, PAGE), (BASE + PAGE, PAGE, PAGE, PAGE)],
        [("/lib/libx.so", BASE, BASE + 4 * PAGE, 0)],
        memory=b"c" * PAGE,
        folder=folder,
    )

    assert memory.read(BASE, PAGE) == b"1" * PAGE
    assert memory.read(BASE + PAGE, PAGE) == b"c" * PAGE
    assert memory.read(BASE + 2 * PAGE, 100) == b"3" * 100
    with pytest.raises(AbsentMemory):
        memory.read(BASE + 2 * PAGE + 100, 1)


def test_the_offset_of_a_mapping_counts(memory_of, folder):
    """The second page of the file is where the row says."""
    memory = memory_of([], [("/lib/libx.so", BASE, BASE + PAGE, PAGE)], folder=folder)

    assert memory.read(BASE, PAGE) == b"2" * PAGE


@pytest.mark.parametrize("path", ["/../outside", "../outside", "/lib/../../outside", "/lib/link"])
def test_no_path_leads_out_of_the_bundle(memory_of, folder, path):
    """Neither dots nor a link; and no file of this machine is read."""
    outside = folder.parent / "outside"
    outside.write_bytes(b"secret" * PAGE)
    (folder / "lib" / "link").symlink_to(outside)

    for named in (path, str(outside)):
        memory = memory_of([], [(named, BASE, BASE + PAGE, 0)], folder=folder)
        assert memory.pieces == []


@pytest.mark.parametrize("kind", [Path.mkdir, os.mkfifo, Path.touch])
def test_what_is_no_file_with_content_is_missing(memory_of, folder, kind):
    """A directory, a pipe that would block, an empty file."""
    kind(folder / "lib" / "odd")

    memory = memory_of([], [("/lib/odd", BASE, BASE + PAGE, 0)], folder=folder)

    assert memory.pieces == []


def test_a_file_with_another_build_id_is_not_used(memory_of, folder, monkeypatch):
    """The one in memory is known: only a file that agrees may stand in for it."""
    library = folder / "lib" / "libx.so"
    row = ("/lib/libx.so", BASE, BASE + PAGE, PAGE)
    monkeypatch.setattr(CoreFile, "build_ids", {"/lib/libx.so": "aa"})

    monkeypatch.setattr(memory_module, "build_id_of", lambda _: "bb")
    assert memory_of([], [row], folder=folder).pieces == []
    monkeypatch.setattr(memory_module, "build_id_of", lambda _: "aa")
    assert memory_of([], [row], folder=folder).read(BASE, 1) == b"2"
    assert library.exists()


def test_files_of_this_machine_are_used_when_asked_for_and_the_same(
    memory_of, folder, monkeypatch
):
    """A bundle lacks it, and the build ID is known to agree."""
    library = folder / "lib" / "libx.so"
    row = (library, BASE, BASE + PAGE, 0)
    monkeypatch.setattr(memory_module, "build_id_of", lambda _: "aa")

    for known, asked, found in [
        ({str(library): "aa"}, True, 1),
        ({}, True, 0),
        ({str(library): "aa"}, False, 0),
        ({str(library): "bb"}, True, 0),
    ]:
        monkeypatch.setattr(CoreFile, "build_ids", known)
        memory = memory_of([], [row], this_machine=asked)
        assert len(memory.pieces) == found


def test_rows_that_cover_each_other_cost_no_more_than_they_are(memory_of, folder):
    """A hostile table: thousands of rows over all of the memory, between thousands of pieces."""
    segments = [(BASE + 2 * PAGE * index, 16, 16, PAGE) for index in range(3000)]
    rows = [("/lib/libx.so", BASE, BASE + 6000 * PAGE, 0)] * 3000

    memory = memory_of(segments, rows, memory=bytes(PAGE), folder=folder)

    assert len(memory.pieces) == 3000 + 2  # the file has something in two gaps of the core


def test_segments_that_share_their_bytes_are_no_more_than_twice_the_core(memory_of):
    """A hostile table: hundreds of segments, each of which is all of the file."""
    segments = [(BASE + 0x100000 * index, PAGE, PAGE, PAGE) for index in range(500)]

    memory = memory_of(segments, memory=bytes(PAGE))

    size = sum(piece.end - piece.start for piece in memory.pieces)
    assert size == 2 * memory.pieces[0].source.nbytes
    assert len(memory.pieces) < 100


def test_a_core_that_vanished_is_reported(tmp_path):
    """Between being opened and being mapped."""
    path = core_of(tmp_path / "core", [])
    with CoreFile(io.BytesIO(path.read_bytes())) as core:
        path.unlink()
        with pytest.raises(IntegrityError, match="unreadable"):
            Memory.of_core(core, path)


def test_memory_of_the_kernel_is_no_process_s():
    """A header may claim any address; no number beyond 64 bits is made of it."""
    source = memoryview(bytes(64))
    pieces = [
        Piece((1 << 63) - 16, (1 << 63) + 48, source, 0, writable=True, path=None),
        Piece((1 << 64) - 8, (1 << 64) + 56, source, 0, writable=True, path=None),
    ]

    (kept,) = Memory(pieces).pieces

    assert (kept.start, kept.end) == ((1 << 63) - 16, 1 << 63)

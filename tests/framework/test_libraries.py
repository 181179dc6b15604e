"""What is said about each mapped file, and how files that change meanwhile are packed."""

import hashlib
import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import get_args

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

from gencore import DumpRequest, MappedFile
from gencore.bundle.writer import BundleWriter
from gencore.libraries import describe
from gencore.request import Content

ELF = os.path.realpath(sys.executable)


def test_an_elf_file_has_size_hash_and_build_id(tool):
    """The build ID is the one that binutils reads."""
    shown = subprocess.run(
        [tool("readelf"), "-n", libc()], capture_output=True, text=True, check=True
    ).stdout
    library = describe(MappedFile(path=libc()))

    assert library.status == "ok"
    assert library.size == Path(libc()).stat().st_size
    assert library.sha256 == hashlib.sha256(Path(libc()).read_bytes()).hexdigest()
    assert f"Build ID: {library.build_id}\n" in shown


def test_build_ids_and_sonames_are_those_that_pyelftools_reads():
    """Of each file with code that is mapped here."""
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        paths = {row.split()[-1] for row in maps if " r-xp " in row and "/" in row}
    for path in paths:
        found = describe(MappedFile(path=path))
        with open(path, "rb") as file:  # noqa: PTH123
            assert (found.build_id, found.soname) == identity_by_pyelftools(file), path
    assert any(path.endswith("/libc.so.6") for path in paths)


def identity_by_pyelftools(file):
    segments = list(ELFFile(file).iter_segments())
    notes = (n for s in segments if isinstance(s, NoteSegment) for n in s.iter_notes())
    tags = (t for s in segments if isinstance(s, DynamicSegment) for t in s.iter_tags())
    return (
        next((n["n_desc"] for n in notes if n["n_type"] == "NT_GNU_BUILD_ID"), None),
        next((t.soname for t in tags if t.entry.d_tag == "DT_SONAME"), None),
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [32, 64])
def test_a_file_of_another_machine_is_identified(tmp_path, bits, order):
    """Of either class and byte order: pyelftools reads the same."""
    path = tmp_path / "library"
    path.write_bytes(library(bits, order, b"libsample.so.1"))

    found = describe(MappedFile(path=str(path)))

    assert (found.build_id, found.soname) == ("0123456789abcdef", "libsample.so.1")
    assert identity_by_pyelftools(io.BytesIO(path.read_bytes())) == (found.build_id, found.soname)


def library(bits, order, soname):
    """Return an ELF file: a build ID, two dynamic entries and a name, all in one segment."""
    word = "I" if bits == 32 else "Q"
    head_size, row_size = (52, 32) if bits == 32 else (64, 56)
    note = struct.pack(f"{order}III", 4, 8, 3) + b"GNU\0" + bytes.fromhex("0123456789abcdef")
    notes = head_size + 3 * row_size
    dynamic = notes + len(note)
    names = dynamic + 3 * struct.calcsize(f"={word}{word}")
    address = 0x10000
    tags = struct.pack(f"{order}6{word}", 14, 1, 5, address + names, 0, 0)
    content = note + tags + b"\0" + soname + b"\0"

    def row(kind, begin, size):
        where = (begin, address + begin, address + begin, size, size)
        fields = (kind, *where, 4, 4) if bits == 32 else (kind, 4, *where, 4)
        return struct.pack(f"{order}8I" if bits == 32 else f"{order}2I6Q", *fields)

    rows = row(1, 0, notes + len(content)) + row(2, dynamic, len(tags)) + row(4, notes, len(note))
    identity = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2, 1]) + bytes(9)
    sizes = (head_size, row_size, 3, 0, 0, 0)
    fields = (3, 62 if bits == 64 else 3, 1, 0, head_size, 0, 0, *sizes)
    return identity + struct.pack(f"{order}HHI3{word}I6H", *fields) + rows + content


def test_a_file_that_claims_more_than_it_has_is_no_library(tmp_path):
    """Wherever its headers lead; and no more than some of it is read for that."""
    path = tmp_path / "library"
    whole = library(64, "<", b"libsample.so.1")
    for size in range(4, len(whole) - len(b"libsample.so.1\0")):
        path.write_bytes(whole[:size])

        assert describe(MappedFile(path=str(path))).status == "not-elf", size


def libc():
    """Find a library that has a build ID on every distribution."""
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        code = (line.split() for line in maps if " r-xp " in line)  # a test may read a copy of it
        return next(row[5] for row in code if row[5:] and row[5].endswith("/libc.so.6"))


def test_a_file_that_is_no_library_says_so(tmp_path):
    """A data file and a damaged ELF file are both `not-elf`, with different reasons, and read."""
    data, damaged = tmp_path / "data", tmp_path / "damaged"
    data.write_bytes(b"data")
    damaged.write_bytes(b"\x7fELF" + bytes(8))

    assert describe(MappedFile(path=str(data))).reason == "a data file, not a library"
    found = describe(MappedFile(path=str(damaged)))
    assert (found.status, found.size) == ("not-elf", 12)
    assert found.sha256 == hashlib.sha256(damaged.read_bytes()).hexdigest()
    assert "not a readable ELF file" in found.reason


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_unreadable_and_does_not_block(tmp_path, make):
    """A FIFO or a directory that took a library's place holds nobody up."""
    path = tmp_path / "there"
    make(path)

    found = describe(MappedFile(path=str(path)))

    assert found.status == "unreadable"
    assert "not a regular file" in found.reason


def test_another_file_in_a_deleted_ones_place_is_not_read(tmp_path):
    """The mapped one is read where it still can be, or it has no facts."""
    there, mapped = tmp_path / "other", tmp_path / "mapped"
    shutil.copy(ELF, there)
    shutil.copy(libc(), mapped)
    found = describe(MappedFile(path=str(there), deleted=True, read_from=str(mapped)))
    lost = describe(MappedFile(path=str(there), deleted=True, read_from=str(tmp_path / "none")))

    assert found.sha256 == hashlib.sha256(mapped.read_bytes()).hexdigest()
    assert (lost.status, lost.sha256) == ("deleted", None)


def test_what_is_no_file_or_too_large_is_skipped_with_a_reason(tmp_path):
    """Devices, shared memory, and data files of more than 64 MiB: code needs none of them."""
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, (64 << 20) + 1)

    for path in ("/dev/zero", "/memfd:arena", str(large)):
        found = describe(MappedFile(path=path))
        assert (found.status, found.archive_paths) == ("skipped", ())
        assert found.reason


@pytest.mark.parametrize("content", sorted({*get_args(Content)} - {"full"}))
def test_a_data_file_is_taken_only_where_the_core_has_data_too(tmp_path, content):
    """Libraries always are, also one that cannot be read as such only with all data."""
    for name, data in (("data", b"data"), ("damaged", b"\x7fELF" + bytes(8))):
        path = tmp_path / name
        path.write_bytes(data)
        full = describe(MappedFile(path=str(path)), DumpRequest())
        less = describe(MappedFile(path=str(path)), DumpRequest(content=content))

        assert (full.status, len(full.archive_paths)) == ("not-elf", 1)
        assert (less.status, less.sha256, less.archive_paths) == ("skipped", None, ())
        assert "content='full'" in less.reason

    assert describe(MappedFile(path=libc()), DumpRequest(content=content)).status == "ok"


@pytest.mark.parametrize(
    ("excluded", "taken"),
    [((), True), (((0, 100),), True), (((299, 300),), False), (((50, 101),), False)],
)
def test_a_file_of_which_memory_is_excluded_is_not_taken(excluded, taken):
    """Any of it, wherever it is mapped; whatever kind of file it is."""
    mapped = MappedFile(path=libc(), data=((100, 200), (250, 300)))

    found = describe(mapped, DumpRequest(excluded=excluded))

    assert (found.sha256 is not None) == taken
    assert taken or "gencore.exclude" in found.reason


def test_a_file_of_which_memory_is_not_to_be_dumped_is_taken_if_that_is_asked_for():
    """As its memory is."""
    mapped = MappedFile(path=libc(), data=((100, 200),), dontdump=True)

    assert "MADV_DONTDUMP" in describe(mapped, DumpRequest()).reason
    assert describe(mapped, DumpRequest(with_dontdump=True)).status == "ok"


@pytest.mark.parametrize(("promised", "match"), [(2, "grew"), (4, "shrank")])
def test_a_file_that_changes_while_it_is_packed_is_noticed(promised, match):
    """The bundle would hold something else than its manifest says."""
    bundle = BundleWriter(io.BytesIO(), "top", 0)
    bundle.begin("member", promised)

    with pytest.raises(OSError, match=match):
        _write_three_bytes(bundle)
    bundle.abort()


def _write_three_bytes(bundle):
    bundle.write(b"abc")
    bundle.end()


def test_a_member_that_is_known_to_be_short_is_filled_with_zeros():
    """What follows it in the bundle can still be read."""
    file = io.BytesIO()
    bundle = BundleWriter(file, "top", 0)
    bundle.begin("core", 5)
    bundle.write(b"abc")
    bundle.end(short=2)
    bundle.begin("next", 1)
    bundle.write(b"x")
    bundle.end()
    bundle.close()

    with tarfile.open(fileobj=io.BytesIO(file.getvalue())) as tar:
        assert tar.extractfile("top/core").read() == b"abc\0\0"
        assert tar.extractfile("top/next").read() == b"x"
        assert {member.mode for member in tar} == {0o600}

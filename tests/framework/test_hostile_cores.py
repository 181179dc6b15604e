"""A core out of a stranger's bundle: whatever stands in it, there is an answer or a reason."""

import io
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gencore
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError


@pytest.fixture(scope="module")
def beginning(tmp_path_factory):
    """Return all headers and notes of a core of this process."""
    path = gencore.create_core(directory=tmp_path_factory.mktemp("core"), content="stacks")
    with CoreFile(path) as core, path.open("rb") as file:
        return file.read(core.end_of_notes)


def read_all(data):
    with CoreFile(io.BytesIO(data)) as core:
        return (
            core.why_incomplete(),
            core.flaw,
            core.build_ids,
            core.thread_ids,
            core.recorded_threads,
            core.mapped_ranges,
        )


changes = st.tuples(
    st.one_of(st.integers(0, 500), st.integers(0, 1 << 20)),
    st.one_of(st.binary(max_size=8), st.sampled_from([bytes(8), b"\xff" * 8])),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=st.lists(changes, max_size=5), end=st.integers(0, 1 << 17))
def test_damaged_headers_and_notes_are_refused_or_read(beginning, changes, end):
    """No other error, and no endless loop."""
    data = bytearray(beginning)
    for at, new in changes:
        data[at % len(data) : at % len(data) + len(new)] = new
    try:
        reason = read_all(bytes(data[: max(end, 64)]))[0]  # it is truncated at best
    except IntegrityError as error:
        reason = error.message
    assert reason


def core_with(owner, kind, data):
    """Return a core that has one note."""
    note = struct.pack("<III", len(owner), len(data), kind) + owner.ljust(
        -(-len(owner) // 4) * 4, b"\0"
    )
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    file = struct.pack("<16sHHIQQQIHHHHHH", identity, 4, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = len(note) + len(data)
    return file + struct.pack("<IIQQQQQQ", 4, 0, 120, 0, 0, size, 0, 4) + note + data


@pytest.mark.parametrize("tid", [b"9" * 5000, b"\xd9\xa3", b"-1", b"\xff"])
def test_thread_ids_that_are_none_are_not_taken(tid):
    """Neither endless numbers, which Python does not read, nor another script's digits."""
    rows = b"thread 7 exact main\nthread " + tid + b" exact other"

    with CoreFile(io.BytesIO(core_with(b"GENCORE\0", 0x47435231, rows))) as core:
        assert [thread.tid for thread in core.recorded_threads] == [7]


def test_registers_that_are_cut_off_are_no_thread():
    """The tid would lie behind the note's end."""
    with CoreFile(io.BytesIO(core_with(b"CORE\0", 1, bytes(20)))) as core:
        assert core.notes[0].type == "NT_PRSTATUS"
        assert core.thread_ids == ()


def whole_core(threads=b"", files=bytes(64), memory=bytes(16)):
    """Return a core with one thread's registers and every note that a debugger needs."""
    registers = bytearray(336)  # struct elf_prstatus of x86-64
    struct.pack_into("i", registers, 32, 7)
    notes = [(b"CORE\0", 3, bytes(64)), (b"CORE\0", 6, bytes(64)), (b"CORE\0", 0x46494C45, files)]
    notes += [(b"CORE\0", 1, bytes(registers)), (b"GENCORE\0", 0x47435231, threads)]
    data = b""
    for owner, kind, described in notes:
        data += struct.pack("<III", len(owner), len(described), kind) + padded(owner)
        data += padded(described)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    file = struct.pack("<16sHHIQQQIHHHHHH", identity, 4, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    file += struct.pack("<IIQQQQQQ", 4, 0, 176, 0, 0, len(data), 0, 4)
    file += struct.pack("<IIQQQQQQ", 1, 4, 176 + len(data), 0x1000, 0, len(memory), len(memory), 1)
    return file + data + memory


def padded(data):
    return data.ljust(-(-len(data) // 4) * 4, b"\0")


@pytest.mark.parametrize(
    ("threads", "flaw"),
    [
        (b"thread 7 exact main\nthread 8 missing other", None),
        (
            b"thread 7 exact main\nthread 8 partial other",
            "the registers of 1 of 2 threads are missing",
        ),
    ],
)
def test_registers_are_missed_only_where_they_were_promised(threads, flaw):
    """A backend may say that it has none of a thread."""
    with CoreFile(io.BytesIO(whole_core(threads))) as core:
        assert core.thread_ids == (7,)
        assert core.flaw == flaw


@pytest.mark.parametrize(("page", "found"), [(0, {"/x": None}), (1, {})])
def test_only_the_beginning_of_a_file_is_read_for_its_build_id(page, found):
    """An ELF file further inside, as in an archive, is another one."""
    files = struct.pack("<5Q", 1, 4096, 0x1000, 0x2000, page) + b"/x\0"

    with CoreFile(io.BytesIO(whole_core(files=files, memory=core_with(b"", 1, b"")))) as core:
        assert core.mapped_ranges[0].path == "/x"
        assert core.build_ids == found


@pytest.mark.parametrize(("before", "cut"), [(32, 0), (0, 40), (32, 40)])
def test_a_file_is_read_where_it_is_mapped_as_far_as_the_core_goes(before, cut):
    """Its mapping may begin within a program header's memory, and end behind a truncated core."""
    files = struct.pack("<5Q", 1, 4096, 0x1000 + before, 0x2000, 0) + b"/x\0"
    data = whole_core(files=files, memory=bytes(before) + core_with(b"", 1, b""))

    with CoreFile(io.BytesIO(data[: len(data) - cut])) as core:
        assert core.build_ids == {"/x": None}


class ReadForwards(io.BytesIO):
    """Counts what is read, and refuses a step back, once `forwards` is set."""

    forwards = False
    bytes_read = furthest = 0

    def read(self, size=-1):
        begin = self.tell()
        data = super().read(size)
        if self.forwards:
            assert begin >= self.furthest, "a step back"
            self.furthest = self.tell()
            self.bytes_read += len(data)
        return data


@pytest.mark.parametrize("step", [0, 4096])
def test_build_ids_are_read_in_one_pass_whatever_the_rows_say(step):
    """A step back in a compressed core costs a pass over it."""
    count = 300
    page = core_with(b"", 1, b"").ljust(4096, b"\0")
    memory = page * count
    rows = [(0x1000 + step * (count - 1 - i), 0x1000 + len(memory), 0) for i in range(count)]
    files = struct.pack("<QQ", count, 4096) + b"".join(struct.pack("<3Q", *row) for row in rows)
    files += b"".join(b"/%d\0" % i for i in range(count))
    file = ReadForwards(whole_core(files=files, memory=memory))

    with CoreFile(file) as core:
        assert len(core.mapped_ranges) == len(core.program_headers) * count
        file.forwards = True
        assert len(core.build_ids) == count

    assert file.bytes_read <= len(memory)

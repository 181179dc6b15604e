"""The memory map: what the kernel's rows hold, whatever the files are called."""

import json
import mmap
import os
import subprocess
import sys

import pytest

from gencore.memory_map import parse_memory_map, read_memory_map

ROW = b"7f00-0a7f000 r-xp 001f3000 fd:1c 1234567                     /lib/one two.so"


def test_a_row_is_read_into_numbers():
    """Addresses and offset are hexadecimal, the inode is decimal."""
    (row,) = parse_memory_map(ROW + b"\n")

    assert (row.start, row.end, row.offset) == (0x7F00, 0xA7F000, 0x1F3000)
    assert (row.permissions, row.device, row.inode) == ("r-xp", "fd:1c", 1234567)
    assert (row.name, row.path, row.deleted) == ("/lib/one two.so", "/lib/one two.so", False)


@pytest.mark.parametrize("name", ["", "[heap]", "[anon: of a name]"])
def test_memory_without_a_file_keeps_the_kernels_word_for_it(name):
    """Also if there is none, and with blanks in it."""
    (row,) = parse_memory_map(f"1000-2000 rw-p 00000000 00:00 0 {name}\n".encode())

    assert (row.name, row.path, row.inode, row.deleted) == (name, name, 0, False)


def test_only_the_path_of_a_file_has_the_mark_of_a_deleted_one():
    """It is not a part of the path, but of the name; the kernel's own names end otherwise."""
    rows = parse_memory_map(ROW + b" (deleted)\n1000-2000 rw-p 0 00:00 0 [anon:x (deleted)]\n")

    assert [row.deleted for row in rows] == [True, False]
    assert [row.path for row in rows] == ["/lib/one two.so", "[anon:x (deleted)]"]
    assert rows[0].name == "/lib/one two.so (deleted)"


def test_what_is_no_row_is_left_out():
    """A damaged row costs itself."""
    assert [row.name for row in parse_memory_map(b"nonsense\n" + ROW + b"\n\n")] == [
        "/lib/one two.so"
    ]


def test_any_file_name_survives(tmp_path):
    """What ends a line elsewhere, bytes that are not UTF-8, and the line feed that is escaped."""
    name = os.fsencode(tmp_path) + "/a\nb\rc\x0bd\x85e\u2028f  g ".encode() + b"\xff"
    with open(name, "w+b") as file:  # noqa: PTH123 - bytes
        file.truncate(mmap.PAGESIZE)
        with mmap.mmap(file.fileno(), 0):
            found = {row.name: row for row in read_memory_map()}[os.fsdecode(name)]

    assert found.end - found.start == mmap.PAGESIZE
    assert found.inode == os.stat(name).st_ino  # noqa: PTH116 - bytes
    assert found.permissions == "rw-s"


def test_another_process_is_read_by_its_number():
    """Its map, and not this one's."""
    code = "import mmap, sys; m = mmap.mmap(-1, 12345 * 4096); print(flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        process.stdout.readline()
        sizes = {row.end - row.start for row in read_memory_map(process.pid)}
        process.communicate()

    assert 12345 * 4096 in sizes
    with pytest.raises(OSError, match="No such"):
        read_memory_map(process.pid)


def test_a_main_thread_that_has_ended_does_not_hide_the_map():
    """The file of /proc/self is empty then, the calling thread's is not."""
    code = """if True:
        import ctypes, json, os, threading
        from gencore.memory_map import read_memory_map
        def read():
            while open("/proc/self/stat").read().rpartition(")")[2].split()[0] != "Z":
                pass
            print(json.dumps(len(read_memory_map())), flush=True)
            os._exit(0)
        threading.Thread(target=read).start()
        ctypes.CDLL(None).pthread_exit(None)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(done.stdout) > 10

"""Small cores and ELF files: made, and taken apart for mutations."""

import struct
from itertools import islice

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")
NOTE = struct.Struct("<III")
IDENT = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
PAGE = 4096
ET_DYN, ET_CORE = 3, 4
PT_LOAD, PT_NOTE = 1, 4
NT_GNU_BUILD_ID = 3
FILE_FIELDS = (
    *((16, 2), (18, 2), (20, 4), (24, 8), (32, 8), (40, 8), (48, 4)),
    *((at, 2) for at in range(52, 64, 2)),
)
"""Type, machine, version, entry, offsets of tables, flags; sizes and numbers of rows."""


def padded(data):
    """Return it with zeros up to a multiple of four bytes."""
    return data.ljust(-(-len(data) // 4) * 4, b"\0")


def note(owner, kind, data):
    """Return one note."""
    return NOTE.pack(len(owner), len(data), kind) + padded(owner) + padded(data)


def ehdr(kind, count, *, sections=0):
    """Return a file header, behind which the program headers begin."""
    return EHDR.pack(IDENT, kind, 62, 1, 0, 64, sections, 0, 64, 56, count, 64, bool(sections), 0)


def library(build_id=bytes(range(20))):
    """Return the first page of an ELF file with a build ID."""
    notes = note(b"GNU\0", NT_GNU_BUILD_ID, build_id)
    at = 64 + PHDR.size
    segment = PHDR.pack(PT_NOTE, 4, at, at, 0, len(notes), len(notes), 4)
    return (ehdr(ET_DYN, 1) + segment + notes).ljust(PAGE, b"\0")


def files_note(rows, *, count=None):
    """Return NT_FILE for (start, end, page, path)."""
    table = b"".join(struct.pack("<QQQ", *row[:3]) for row in rows)
    names = b"".join(row[3] + b"\0" for row in rows)
    count = len(rows) if count is None else count
    return note(b"CORE\0", 0x46494C45, struct.pack("<QQ", count, PAGE) + table + names)


def threads(*tids):
    """Return registers of threads, and our list of them."""
    rows = b"\n".join(b"thread %d exact thread-%d" % (tid, tid) for tid in tids)
    listed = note(b"GENCORE\0", 0x47435231, rows)
    return b"".join(note(b"CORE\0", 1, registers(tid)) for tid in tids) + listed


def registers(tid):
    """Return ``struct elf_prstatus`` of x86-64."""
    data = bytearray(336)
    struct.pack_into("i", data, 32, tid)
    return bytes(data)


def core(notes, images=(), *, base=0x10000, notes_last=False, reverse=False):
    """Return a core with a program header for each piece of memory, in order of address.

    With *reverse* the last one has the lowest.
    """
    first = 64 + PHDR.size * (1 + len(images))
    size = sum(map(len, images))
    at_notes, at = (first + size, first) if notes_last else (first, first + len(notes))
    heads = [PHDR.pack(PT_NOTE, 0, at_notes, 0, 0, len(notes), 0, 4)]
    for number, image in enumerate(images):
        place = len(images) - 1 - number if reverse else number
        heads.append(
            PHDR.pack(PT_LOAD, 5, at, base + place * PAGE * 16, 0, len(image), len(image), 1)
        )
        at += len(image)
    body = (b"".join(images), notes) if notes_last else (notes, b"".join(images))
    return ehdr(ET_CORE, 1 + len(images)) + b"".join(heads) + b"".join(body)


def sound(paths=(b"/bin/python", b"/lib/libc.so.6"), *, notes_last=False):
    """Return a core with all that a debugger needs."""
    base = 0x10000
    rows = [
        (base + number * PAGE * 16, base + number * PAGE * 16 + PAGE, 0, path)
        for number, path in enumerate(paths)
    ]
    notes = threads(7, 8) + note(b"CORE\0", 3, bytes(136)) + note(b"CORE\0", 6, bytes(64))
    images = [library(path[-1:] * 20) for path in paths]
    return core(notes + files_note(rows), images, notes_last=notes_last)


def fields(data):
    """Return the places of a core's numbers: (offset, bytes), in headers, notes and tables."""
    return [*FILE_FIELDS, *islice(_fields(data), 1000)]


def _fields(data):
    (_, _, _, _, _, at, _, _, _, _, count, *_) = EHDR.unpack_from(data.ljust(64, b"\0"))
    for begin in range(at, min(at + count * PHDR.size, len(data) - PHDR.size + 1), PHDR.size):
        yield from ((begin, 4), (begin + 4, 4), *((begin + place, 8) for place in range(8, 56, 8)))
        kind, _, offset, _, _, size, _, _ = PHDR.unpack_from(data, begin)
        if kind == PT_NOTE:
            yield from _note_fields(data, offset, min(offset + size, len(data)))


def _note_fields(data, at, end):
    while at + NOTE.size <= end:
        name, size, kind = NOTE.unpack_from(data, at)
        yield from ((at, 4), (at + 4, 4), (at + 8, 4))
        begin = at + NOTE.size + (name + 3 & ~3)
        if kind == 0x46494C45:
            yield from ((begin + place, 8) for place in range(0, min(size, 16 + 3 * 24), 8))
        at = begin + (size + 3 & ~3)

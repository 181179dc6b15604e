"""A bundle as its parts, which a mutation changes one by one and `Bundle.build` puts together."""

import gzip
import json
import struct
import tarfile
import zlib
from itertools import accumulate, pairwise

import attrs

from gencore.bundle.tree_hash import block_hash, root_hash

BLOCK = 512
END = 42
MIB = 1 << 20
WITH_BLOCKS = 2
"""The version of tables that have each gzip member's length, and a hash for each block."""
DERIVED = {"offset", "lengths", "leaves", "tree_sha256"}
"""What of a row follows from the file."""
"""Bytes of the table's trailer."""
PIECE = 65_531
TOP = "core_20260101.000000.1.001"
DIGITS = "@digits@"
"""Stands for a number of more digits than Python reads or writes."""


@attrs.define
class File:
    """One file: what tar has of it, how that is compressed, and its row in the table."""

    head: bytes
    data: bytes
    row: dict | None
    pieces: int = 1
    """Gzip members that it is cut into."""
    level: int = 6
    before: bytes = b""
    """Compressed bytes before it that its row does not tell."""
    after: bytes = b""
    at: int | None = None
    """Where the table says that it begins, counted from the bytes before it; None: the truth."""


@attrs.define
class Bundle:
    """All of it. `edit` may change the finished bytes."""

    files: list
    table: dict
    end: bytes = bytes(2 * BLOCK)
    between: bytes = b""
    """Bytes between the archive and the table."""
    gap: bytes = b""
    """Bytes between the table and its trailer."""
    behind: bytes = b""
    """Bytes behind the table, within its zlib stream's pieces."""

    def build(self):
        """Return the file."""
        data, rows = b"", []
        for file in self.files:
            at = len(file.before) if file.at is None else file.at
            if file.row is not None:
                rows.append({**self.places(file, len(data) + at), **file.row})
            data += file.before + b"".join(self.compressed(file)) + file.after
        if self.end:
            data += gzip.compress(self.end, mtime=0)
        data += self.between
        table = as_json({**self.table, "members": rows})
        return data + framed(table, len(data), behind=self.behind, gap=self.gap)

    def places(self, file, offset):
        """Return what the table has of a file beside its name, size and hash."""
        if self.table.get("version") != WITH_BLOCKS:
            return {"offset": offset}
        leaves = [block_hash(block) for block in _cut(file.data, MIB)]
        return {
            "lengths": [len(member) for member in self.compressed(file)],
            "tree_sha256": root_hash(leaves),
            "leaves": [leaf.hex() for leaf in leaves],
        }

    def compressed(self, file):
        """Return a file's gzip members: a header's and those of its blocks, or some pieces."""
        padded = file.data + bytes(-len(file.data) % BLOCK)
        if self.table.get("version") == WITH_BLOCKS:
            cut = [file.head, *_cut(padded, MIB)]
        else:
            plain = file.head + padded
            cut = _cut(plain, max(1, -(-len(plain) // file.pieces)))
        return [gzip.compress(piece, file.level, mtime=0) for piece in cut]


def _cut(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


def framed(table, begin, *, behind=b"", gap=b""):
    """Return the gzip members of a table, given as JSON, that begin there in the file."""
    table = zlib.compress(table) + behind
    pieces = (table[at : at + PIECE] for at in range(0, len(table), PIECE))
    trailer = empty_member(b"GE", struct.pack("<QQ", begin, len(table)))
    return b"".join(empty_member(b"GC", piece) for piece in pieces) + gap + trailer


def as_json(value):
    """Serialize, with a number that Python cannot write."""
    return json.dumps(value).replace(f'"{DIGITS}"', "9" * 5000).encode()


def empty_member(name, value):
    """Return a gzip member without data, which has *value* in its extra field."""
    field = struct.pack("<H2sH", len(value) + 4, name, len(value)) + value
    return b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + field + b"\x03\0" + bytes(8)


def with_extra_field(data, value):
    """Compress, with *value* in the gzip header, where readers skip it."""
    plain = gzip.compress(data, mtime=0)
    field = struct.pack("<H2sH", len(value) + 4, b"XX", len(value)) + value
    return plain[:3] + b"\4" + plain[4:10] + field + plain[10:]


def header(name, size=0, **fields):
    """Return a tar header as Python's tarfile writes it, with a pax header if it needs one."""
    info = tarfile.TarInfo(f"{TOP}/{name}")
    info.size, info.mode = size, 0o600
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.PAX_FORMAT)


def with_checksum(block):
    """Return a header whose check sum is right again."""
    block = bytearray(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def make_file(name, data, **fields):
    """Return a file and its row."""
    row = {"path": name, "size": len(data), "sha256": None}
    return File(header(name, len(data), **fields), data, row)


def make(files, version=WITH_BLOCKS):
    """Return a bundle of files by name."""
    return Bundle([make_file(*file) for file in files.items()], {"version": version, "top": TOP})


def take_apart(data):
    """Return a sound bundle's parts. Raises ValueError or the like for another."""
    begin, length = struct.unpack("<QQ", data[-END + 16 : -10])
    table = b""
    at = begin
    while len(table) < length and at < len(data):
        size = min(PIECE, length - len(table))
        table += data[at + 16 : at + 16 + size]
        at += size + 26
    table = json.loads(zlib.decompress(table))
    rows = table.pop("members")
    if table["version"] == WITH_BLOCKS:
        begins = [*accumulate((sum(row["lengths"]) for row in rows), initial=0)]
    else:
        begins = [*(row["offset"] for row in rows), begin]
    plain = [gzip.decompress(data[slice(*place)]) for place in pairwise(begins)]
    return Bundle(list(map(_file, rows, plain)), table)


def _file(row, plain):
    row = {key: value for key, value in row.items() if key not in DERIVED}
    pax = tarfile.TarInfo.frombuf(plain[:BLOCK], "utf-8", "surrogateescape")
    length = BLOCK if pax.type == b"0" else 2 * BLOCK + pax.size + -pax.size % BLOCK
    return File(plain[:length], plain[length : length + row["size"]], row)

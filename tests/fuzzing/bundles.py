"""A bundle as its parts, which a mutation changes one by one and `Bundle.build` puts together.

It is of any codec, and with gzip written by another library than gencore's.
"""

import gzip
import json
import struct
import tarfile
import zlib
from itertools import accumulate, pairwise

import attrs

from gencore.bundle.codecs import GZIP, Codec, codec_of
from gencore.bundle.tree_hash import block_hash, root_hash
from gencore.bundle.zstd_library import zstd_library

BLOCK = 512
MIB = 1 << 20
WITH_BLOCKS = 2
"""The version of tables that have each frame's length, and a hash for each block."""
DERIVED = {"offset", "lengths", "leaves", "tree_sha256"}
"""What of a row follows from the file."""
PLACE = struct.Struct("<QQ")
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
    """Frames that it is cut into."""
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
    codec: Codec = GZIP
    end: bytes = bytes(2 * BLOCK)
    between: bytes = b""
    """Bytes between the archive and the table."""
    gap: bytes = b""
    """Bytes between the table and its trailer."""
    behind: bytes = b""
    """Bytes behind the table, within its zlib stream's pieces."""
    options: dict = attrs.Factory(dict)
    """How zstd makes frames, by the names of its parameters."""

    def build(self):
        """Return the file."""
        data, rows = b"", []
        for file in self.files:
            at = len(file.before) if file.at is None else file.at
            if file.row is not None:
                rows.append({**self.places(file, len(data) + at), **file.row})
            data += file.before + b"".join(self.compressed(file)) + file.after
        if self.end:
            data += self.frame(self.end)
        data += self.between
        table = as_json({**self.table, "members": rows})
        return data + framed(table, len(data), self.codec, behind=self.behind, gap=self.gap)

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
        """Return a file's frames: a header's and those of its blocks, or some pieces."""
        padded = file.data + bytes(-len(file.data) % BLOCK)
        if self.table.get("version") == WITH_BLOCKS:
            cut = [file.head, *_cut(padded, MIB)]
        else:
            plain = file.head + padded
            cut = _cut(plain, max(1, -(-len(plain) // file.pieces)))
        return [self.frame(piece, file.level) for piece in cut]

    def frame(self, data, level=9):
        """Compress."""
        if self.codec is GZIP:
            return gzip.compress(data, level, mtime=0)
        zstd = zstd_library()
        options = {"compression_level": level, "checksum_flag": 1, **self.options}
        named = {getattr(zstd.CompressionParameter, key): value for key, value in options.items()}
        return zstd.compress(data, options=named)


def _cut(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


def framed(table, begin, codec=GZIP, *, behind=b"", gap=b""):
    """Return what readers skip: a table, given as JSON, that begins there in the file."""
    table = zlib.compress(table) + behind
    pieces = (codec.hide(b"GC", piece) for piece in _cut(table, codec.largest_piece))
    return b"".join(pieces) + gap + codec.hide(b"GE", PLACE.pack(begin, len(table)))


def as_json(value):
    """Serialize, with a number that Python cannot write."""
    return json.dumps(value).replace(f'"{DIGITS}"', "9" * 5000).encode()


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


def make(files, version=WITH_BLOCKS, codec=GZIP):
    """Return a bundle of files by name."""
    table = {"version": version, "top": TOP}
    return Bundle([make_file(*file) for file in files.items()], table, codec)


def file_name(data):
    """Return what a bundle of these bytes is called."""
    return f"{TOP}.{(codec_of(data) or GZIP).extension}"


def table_file(table, codec):
    """Return a file with a table, given as JSON, behind bytes that are no bundle's."""
    archive = codec.magic.ljust(100, b"\0")
    return archive + framed(table, len(archive), codec)


def take_apart(data):
    """Return a sound bundle's parts. Raises ValueError or the like for another."""
    codec = codec_of(data)
    begin, length = PLACE.unpack(codec.find(b"GE", data[-codec.overhead - PLACE.size :]))
    table = b""
    at = begin
    while len(table) < length and at < len(data):
        size = codec.overhead + min(codec.largest_piece, length - len(table))
        table += codec.find(b"GC", data[at : at + size])
        at += size
    table = json.loads(zlib.decompress(table))
    rows = table.pop("members")
    if table["version"] == WITH_BLOCKS:
        begins = [*accumulate((sum(row["lengths"]) for row in rows), initial=0)]
    else:
        begins = [*(row["offset"] for row in rows), begin]
    plain = [_plain(data[slice(*place)], codec) for place in pairwise(begins)]
    return Bundle(list(map(_file, rows, plain)), table, codec)


def _plain(frames, codec):
    """Decompress some frames, one behind the other."""
    return gzip.decompress(frames) if codec is GZIP else zstd_library().decompress(frames)


def _file(row, plain):
    row = {key: value for key, value in row.items() if key not in DERIVED}
    pax = tarfile.TarInfo.frombuf(plain[:BLOCK], "utf-8", "surrogateescape")
    length = BLOCK if pax.type == b"0" else 2 * BLOCK + pax.size + -pax.size % BLOCK
    return File(plain[:length], plain[length : length + row["size"]], row)

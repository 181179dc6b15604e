"""The table of contents at a bundle's end, where programs that decompress it find no data.

The table is JSON, compressed with zlib and cut into pieces, each in bytes that every reader skips;
the last such bytes of the file have a fixed size and hold the offset of the first piece. Why they
are skipped ``codecs`` knows. docs/reference/bundle.md describes it for other readers.
"""

import json
import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, takewhile
from typing import Any, BinaryIO, Final

import attrs
from attrs.validators import instance_of, optional

from gencore.bundle.codecs import CODECS, GZIP, Codec, codec_of
from gencore.bundle.tree_hash import root_hash
from gencore.errors import IntegrityError

__all__ = [
    "BLOCK_SIZE",
    "Contents",
    "Member",
    "blocks_of",
    "check_path",
    "encode",
    "encode_table",
    "folders_of",
    "frame_lengths",
    "read_contents",
]

BLOCK_SIZE: Final = 1 << 20
"""Bytes of a file in each of its frames but the last."""
_VERSION: Final = 2
_SEQUENTIAL: Final = 1
"""The version of tables that do not have the blocks: what is in a file only reading it tells."""
_MAGIC_SIZE: Final = max(len(codec.magic) for codec in CODECS)
_PIECE, _END = b"GC", b"GE"
_PLACE: Final = struct.Struct("<QQ")
"""Where the first piece begins in the file, and the length of the compressed table; bytes."""
_LEAST_LIMIT: Final = 8 << 20
_HIGHEST_LIMIT: Final = 64 << 20
"""Bytes of a table, compressed or not, at most: the least is enough for 50,000 files."""
_OF_A_BLOCK: Final = 127
"""More bytes, for each of the blocks that the bundle has if all are zeros: nearly twice those of
its length and its hash. With gzip, that is an eighth of the bundle's size."""

_PATH_MAX: Final = 4096 - 257
"""Bytes of a path below the top folder: with that, other programs open it at once."""
_NAME_MAX: Final = 255
"""Bytes of one part of a path: no Linux file system has longer names."""
_PARTS_MAX: Final = 128
"""Parts of a path: each needs a descriptor of whoever makes or removes the folders."""
_TOP: Final = re.compile(r"[A-Za-z0-9_+=@][A-Za-z0-9._+=@-]{0,254}")
"""The names that dumps have, see ``gencore.naming``: none is hidden, or an option of a command."""
_FOLDERS_MAX: Final = 20_000
"""Folders of a bundle: each costs a block of the disk, and a path of a few bytes has a hundred."""


@attrs.frozen
class Member:
    """One file in a bundle."""

    path: str = attrs.field(validator=instance_of(str))
    """Below the top folder."""
    size: int = attrs.field(validator=instance_of(int))
    """Bytes."""
    offset: int = attrs.field(validator=instance_of(int))
    """Where the frame begins that starts with this file's tar header; bytes."""
    sha256: str | None = attrs.field(default=None, validator=optional(instance_of(str)))
    """Hexadecimal; None if only the manifest has it, or if there is a tree instead."""
    lengths: tuple[int, ...] | None = None
    """Of the frames that hold its tar header and its blocks, in bytes; None in version 1."""
    leaves: tuple[bytes, ...] | None = None
    """The hashes of its blocks; see ``gencore.bundle.tree_hash``. None if it has no tree."""

    @property
    def tree(self) -> str | None:
        """The hash over the blocks, hexadecimal; None if it has none."""
        return None if self.leaves is None else root_hash(self.leaves)

    @property
    def places(self) -> tuple[int, ...]:
        """Where its frames begin, and where the last one ends; bytes. Needs `lengths`."""
        return tuple(accumulate(self.lengths or (), initial=self.offset))


@attrs.frozen
class Contents:
    """A table of contents, as it says. What the archive has in its place only reading it tells."""

    top: str
    """The name of the folder that all members are below."""
    members: tuple[Member, ...]
    """In order of offset."""
    end: int
    """Where the archive ends and the table begins; bytes."""
    codec: Codec
    """What the archive is compressed with."""
    has_blocks: bool
    """Whether it has the `Member.lengths` of each member."""


def blocks_of(size: int) -> int:
    """Return how many blocks a file of *size* bytes has."""
    return -(-size // BLOCK_SIZE)


def frame_lengths(codec: Codec) -> range:
    """Return how many bytes a frame may have that holds one block."""
    return range(codec.smallest_frame, 2 * BLOCK_SIZE)


def encode(top: str, members: Iterable[Member], offset: int, codec: Codec = GZIP) -> bytes:
    """Return the bytes to be written at *offset*, the end of the data."""
    rows = [_row(member) for member in members]
    return encode_table({"version": _VERSION, "top": top, "members": rows}, offset, codec)


def encode_table(table: Mapping[str, Any], offset: int, codec: Codec = GZIP) -> bytes:
    """Return the bytes that hold a table of any version."""
    data = zlib.compress(json.dumps(table).encode())
    size = codec.largest_piece
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    end = codec.hide(_END, _PLACE.pack(offset, len(data)))
    return b"".join(codec.hide(_PIECE, piece) for piece in pieces) + end


def _row(member: Member) -> dict[str, Any]:
    """Return what the table has of it: the places follow from the lengths."""
    return {
        "path": member.path,
        "size": member.size,
        "sha256": member.sha256,
        "lengths": member.lengths,
        "tree_sha256": member.tree,
        "leaves": None if member.leaves is None else [leaf.hex() for leaf in member.leaves],
    }


def read_contents(file: BinaryIO) -> Contents:
    """Read the table. Raises `IntegrityError` if it is missing, invalid, impossible, or newer."""
    size = file.seek(0, os.SEEK_END)
    codec = _codec(file)
    limit = min(_LEAST_LIMIT + _OF_A_BLOCK * size // codec.smallest_block, _HIGHEST_LIMIT)
    end_size = codec.overhead + _PLACE.size
    begin, length = _PLACE.unpack(_value(codec, _read(file, size - end_size, end_size), _END))
    if length > limit or begin + length > size:
        raise _no_table("offset out of range")
    data, behind = _join(file, codec, begin, length)
    if behind != size - end_size:
        raise _no_table("bytes between the table and its trailer")
    table = _parse(data, limit)
    try:
        members = _members(table, codec)
        contents = Contents(table["top"], members, begin, codec, table["version"] != _SEQUENTIAL)
        _check(contents)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise _no_table(f"wrong type: {error}") from error
    return contents


def _codec(file: BinaryIO) -> Codec:
    file.seek(0)
    codec = codec_of(file.read(_MAGIC_SIZE))
    if codec is None:
        raise _no_table("compressed with none of " + ", ".join(one.name for one in CODECS))
    return codec


def _members(table: Any, codec: Codec) -> tuple[Member, ...]:
    version = table["version"]
    if type(version) is not int or version not in codec.versions:
        known = ", ".join(map(str, codec.versions))
        raise IntegrityError(
            f"unknown version of the table of contents: {version!r} (known: {known})"
        )
    if version == _SEQUENTIAL:
        return tuple(map(_with_place, table["members"]))
    return tuple(_with_blocks(table["members"], frame_lengths(codec)))


def _with_place(row: dict[str, Any]) -> Member:
    """Return a member of version 1, of which nothing else is believed."""
    return Member(row["path"], row["size"], row["offset"], row.get("sha256"))


def _with_blocks(rows: list[dict[str, Any]], possible: range) -> Iterator[Member]:
    """Yield members that lie one behind the other, in frames of possible lengths."""
    offset = 0
    for row in rows:
        leaves = row["leaves"]
        member = Member(
            row["path"],
            row["size"],
            offset,
            row["sha256"],
            tuple(row["lengths"]),
            None if leaves is None else tuple(map(bytes.fromhex, leaves)),
        )
        _check_blocks(member, row["tree_sha256"], possible)
        yield member
        offset = member.places[-1]


def _check_blocks(member: Member, tree: object, possible: range) -> None:
    """Raise if the blocks cannot be those of such a file."""
    count, lengths, leaves = blocks_of(member.size), member.lengths or (), member.leaves
    fit = (type(length) is int and length in possible for length in lengths)
    if len(lengths) != 1 + count or not all(fit):
        raise _no_table(f"the compressed blocks of {member.path!r} cannot hold it")
    if leaves is not None and (len(leaves) != count or member.tree != tree):
        raise _no_table(f"the hashes of {member.path!r} do not match each other")


def _no_table(why: str) -> IntegrityError:
    return IntegrityError(
        f"not a bundle, or truncated: the table of contents at its end is missing ({why})"
    )


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    if offset < 0:
        raise _no_table("file too short")
    file.seek(offset)
    data = file.read(length)
    if len(data) != length:
        raise _no_table("truncated")
    return data


def _value(codec: Codec, hidden: bytes, name: bytes) -> bytes:
    """Return what readers skip there, under *name*."""
    value = codec.find(name, hidden)
    if value is None:
        raise _no_table("bad trailer" if name == _END else "bad piece")
    return value


def _join(file: BinaryIO, codec: Codec, begin: int, length: int) -> tuple[bytes, int]:
    """Return the compressed table, and where its last piece ends."""
    data = bytearray()
    while len(data) < length:
        size = min(codec.largest_piece, length - len(data)) + codec.overhead
        data += _value(codec, _read(file, begin, size), _PIECE)
        begin += size
    return bytes(data), begin


def _parse(data: bytes, limit: int) -> Any:
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(data, limit)
        if stream.unconsumed_tail:
            raise _no_table(f"larger than {limit >> 20} MiB")
        if not stream.eof or stream.unused_data:
            raise _no_table("truncated, or with bytes behind it")
        return json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise _no_table(str(error)) from error


def _check(contents: Contents) -> None:
    """Raise if a row is impossible, or if two contradict each other."""
    top, members, end = contents.top, contents.members, contents.end
    offsets = [member.offset for member in members]
    paths = [member.path for member in members]
    if not _TOP.fullmatch(top):
        raise IntegrityError(f"invalid name of the top folder: {top!r}")
    for path in paths:
        check_path(path)
    if len(set(paths)) != len(paths):
        raise IntegrityError("two members have the same path")
    if both := _folders(paths).intersection(paths):
        raise IntegrityError(f"{min(both)!r} is both a file and a directory")
    if offsets != sorted(set(offsets)) or any(not 0 <= offset < end for offset in offsets):
        raise _no_table("member offsets unsorted or out of range")
    if offsets and offsets[0]:
        raise _no_table("bytes before the first member")
    if members and members[-1].places[-1] > end:
        raise _no_table("the last member reaches beyond the archive")
    most = BLOCK_SIZE * (end + 1) // contents.codec.smallest_block
    if sum(m.size for m in members) > most or any(m.size < 0 for m in members):
        raise IntegrityError("the members are larger than its compressed bytes can hold")


def folders_of(path: str) -> Iterator[str]:
    """Yield the folders that a member is in, below the top one, the innermost first."""
    folder, slash, _ = path.rpartition("/")
    while slash:
        yield folder
        folder, slash, _ = folder.rpartition("/")


def _folders(paths: list[str]) -> set[str]:
    """Return every folder of a bundle."""
    found: set[str] = set()
    for path in paths:
        found.update(takewhile(lambda folder: folder not in found, folders_of(path)))
        if len(found) > _FOLDERS_MAX:
            raise IntegrityError(f"more than {_FOLDERS_MAX:,} folders")
    return found


def check_path(path: str) -> None:
    """Raise `IntegrityError` unless a member can have this path."""
    if not _is_safe(path):
        raise IntegrityError(f"invalid member path, not below the top folder: {path!r}")


def _is_safe(path: str) -> bool:
    """Whether *path* is a valid relative path that never leads upwards."""
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError:  # no file has such a name
        return False
    parts = name.split(b"/")
    longest = max(map(len, parts))
    fits = len(name) <= _PATH_MAX and longest <= _NAME_MAX and len(parts) <= _PARTS_MAX
    return fits and b"\0" not in name and not {b"", b".", b".."}.intersection(parts)

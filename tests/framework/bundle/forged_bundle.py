"""Writes bundles byte by byte, in both versions of the format, as an attacker would."""

import json
import tarfile
from functools import partial

from gencore.bundle.codecs import GZIP, ZSTD
from gencore.bundle.contents import BLOCK_SIZE, Member, encode, encode_table

TOP = "core_20260101.000000.1.001"
MANIFEST = json.dumps({"process": {"executable": {"path": "/manifest.json"}}}).encode()
"""What the commands need that unpack all for a debugger."""


def header(name, size=0, **fields):
    """Return the header of a regular file, or with other *fields* of something else."""
    info = tarfile.TarInfo(f"{TOP}/{name}")
    info.size = size
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def encode_1(top, members, offset):
    """Return a table of version 1, whose rows have places instead of lengths."""
    rows = [
        {"path": m.path, "size": m.size, "offset": m.offset, "sha256": m.sha256} for m in members
    ]
    return encode_table({"version": 1, "top": top, "members": rows}, offset)


def forge(path, members, rows=None, *, end=bytes(1024), manifest=MANIFEST, version=2):
    """Write whatever is given: (tar header, data) pairs, and a table of *rows*.

    Behind it, a sound manifest. The path's ending says which codec.
    """
    if manifest is not None:
        members = [*members, (header("manifest.json", len(manifest)), manifest)]
    codec = ZSTD if path.suffix == ".zst" and version == 2 else GZIP
    compress = codec.compressor(codec.level)
    pieces = [pieces_of(info, content, version, compress) for info, content in members]
    lengths = [tuple(map(len, of_one)) for of_one in pieces]
    offsets = [sum(map(sum, lengths[:index])) for index in range(len(members))]
    named = [
        Member(info.name.removeprefix(f"{TOP}/"), info.size, offset, None, own)
        for (info, _), offset, own in zip(members, offsets, lengths, strict=True)
    ]
    if rows is None:
        rows = named
    elif manifest is not None:
        rows = [*rows, named[-1]]
    data = b"".join(map(b"".join, pieces)) + compress(end)
    told = (encode_1 if version == 1 else partial(encode, codec=codec))(TOP, rows, len(data))
    path.write_bytes(data + told)
    return path


def pieces_of(info, content, version, compress):
    """Return the frames of one file."""
    tar_header = info.tobuf(tarfile.PAX_FORMAT)
    padded = content + bytes(-len(content) % 512)
    if version == 1:
        return [compress(tar_header + padded)]
    blocks = [padded[at : at + BLOCK_SIZE] for at in range(0, len(padded), BLOCK_SIZE)]
    return [compress(piece) for piece in (tar_header, *blocks)]

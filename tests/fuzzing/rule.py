"""The rule of what reading an untrusted file may cost, which the fuzzer checks."""

import os
from pathlib import Path

from gencore.bundle.codecs import CODECS, codec_of

SECONDS = 1.0
"""CPU time that any file may cost."""
SECONDS_PER_BYTE = 1e-6
"""More, for each byte that the file can hold."""
EXPANSION = {codec: (1 << 20) // codec.smallest_block for codec in CODECS}
"""Bytes that a byte can hold if a codec has compressed it, at most."""
SECONDS_PER_BYTE_OF_A_REPORT = 50e-6
"""More, for each byte of a manifest that is shown: a row of two bytes is an element."""
MEMORY = 1 << 30
"""Bytes of address space, whatever the file."""
FIXED = 1 << 20
"""Bytes that any file may cost on the disk: the report's page has a style, for example."""
BLOCK = 4096
"""Bytes of the disk that a name may cost."""
NAMES = 20_000 + 150_000
"""Folders and files of a bundle, at most."""
TEXT = 64 << 10
"""Bytes of the messages of a command; what it prints on standard output is the file's own."""


def seconds(data, *, shown=False):
    """Return the CPU time that reading a file of these bytes may take."""
    report = SECONDS_PER_BYTE_OF_A_REPORT * len(data) if shown else 0
    return SECONDS + report + SECONDS_PER_BYTE * _held(data)


def disk(data):
    """Return the bytes that unpacking a bundle of these bytes may write."""
    return FIXED + _held(data) + min(NAMES, len(data)) * BLOCK


def _held(data):
    return len(data) * EXPANSION.get(codec_of(data), 1)


def disk_usage(folder):
    """Return the bytes that a folder has on the disk."""
    return sum(512 * os.lstat(path).st_blocks for path in Path(folder).rglob("*"))

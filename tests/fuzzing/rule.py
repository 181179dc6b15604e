"""The rule of what reading an untrusted file may cost, which the fuzzer checks."""

import os
from pathlib import Path

SECONDS = 1.0
"""CPU time that any file may cost."""
SECONDS_PER_BYTE = 1e-6
"""More, for each byte that the file can hold."""
EXPANSION = 1032
"""Bytes that a byte can hold if deflate has compressed it, at most."""
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


def seconds(size, *, compressed, shown=False):
    """Return the CPU time that reading a file of so many bytes may take."""
    report = SECONDS_PER_BYTE_OF_A_REPORT * size if shown else 0
    return SECONDS + report + SECONDS_PER_BYTE * size * (EXPANSION if compressed else 1)


def disk(size):
    """Return the bytes that unpacking a bundle of so many bytes may write."""
    return FIXED + size * EXPANSION + min(NAMES, size) * BLOCK


def disk_usage(folder):
    """Return the bytes that a folder has on the disk."""
    return sum(512 * os.lstat(path).st_blocks for path in Path(folder).rglob("*"))

"""Compares our reading of build IDs and sonames with pyelftools': the results, and the CPU time.

    python tests/benchmarks/elf_identity.py [FOLDER...]

Of every ELF file below the folders, /usr/lib and /usr/bin unless others are named.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment
from measuring import introduced, table

from gencore._elf_identity import read_identity

Identity = tuple[str | None, str | None]


def elf_files(folders: list[Path]) -> Iterator[Path]:
    """Yield every one of them once."""
    for folder in folders:
        for place, _, names in os.walk(folder):
            for path in (Path(place, name) for name in names):
                with contextlib.suppress(OSError):
                    if path.is_file() and not path.is_symlink() and is_elf(path):
                        yield path


def is_elf(path: Path) -> bool:
    """Look at the magic number."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def by_pyelftools(file: BinaryIO) -> Identity:
    """Return build ID and soname, without a look at the sections."""
    elf = ELFFile(file)
    elf.num_sections = lambda: 0
    segments = list(elf.iter_segments())
    notes = (n for s in segments if isinstance(s, NoteSegment) for n in s.iter_notes())
    tags = (t for s in segments if isinstance(s, DynamicSegment) for t in s.iter_tags())
    return (
        next((n["n_desc"] for n in notes if n["n_type"] == "NT_GNU_BUILD_ID"), None),
        next((t.soname for t in tags if t.entry.d_tag == "DT_SONAME"), None),
    )


def timed(read: Callable[[BinaryIO], Identity], path: Path) -> tuple[object, float]:
    """Return what was read, or the name of the error, and the seconds."""
    with path.open("rb") as file:
        begin = time.process_time()
        try:
            found: object = read(file)
        except Exception as error:
            found = type(error).__name__
        return found, time.process_time() - begin


def main() -> None:
    """Measure, and print a table."""
    folders = [Path(name) for name in sys.argv[1:] or ("/usr/lib", "/usr/bin")]
    rows = [(timed(by_pyelftools, p), timed(read_identity, p)) for p in elf_files(folders)]
    differ = sum(theirs[0] != ours[0] for theirs, ours in rows)
    theirs, ours = (sum(row[side][1] for row in rows) / len(rows) * 1e3 for side in (0, 1))
    print(introduced("Build ID and soname of ELF files"))
    head = ["files", "read differently", "pyelftools ms", "gencore ms", "ratio"]
    row = [f"{len(rows):,}", differ, f"{theirs:.2f}", f"{ours:.3f}", f"{theirs / ours:.0f}"]
    print(table(head, iter([row])))


if __name__ == "__main__":
    main()

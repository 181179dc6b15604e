"""The children of a process, for tests and for what they start."""

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["children"]


def children(parent: int | str = "self") -> list[int]:
    """Return the process IDs of a process's children, zombies too, of all threads that go on."""
    found: list[str] = []
    for tid in os.listdir(f"/proc/{parent}/task"):
        with suppress(FileNotFoundError):  # it has ended since
            found += Path(f"/proc/{parent}/task/{tid}/children").read_text().split()
    return [int(pid) for pid in found]

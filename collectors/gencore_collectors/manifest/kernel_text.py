"""Reads the small text files in which a kernel tells about itself and its processes."""

from pathlib import Path

__all__ = ["key_values", "number", "read"]


def read(path: Path | str) -> str | None:
    """Return the text without blanks around it, or None if it cannot be read."""
    try:
        return Path(path).read_text(errors="replace").strip("\0 \t\n")
    except (OSError, ValueError):
        return None


def key_values(path: Path | str) -> dict[str, str]:
    """Return the ``Key: value`` lines, or nothing if the file cannot be read."""
    lines = (read(path) or "").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def number(text: str | None) -> int | None:
    """Return the decimal number with which a text begins, or None if there is none."""
    first = (text or "").partition(" ")[0]
    return int(first) if first.isascii() and first.isdecimal() else None

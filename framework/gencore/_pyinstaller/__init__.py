"""Where PyInstaller finds the hook by which it packs gencore into a program."""

from pathlib import Path

__all__ = ["hook_directories"]


def hook_directories() -> list[str]:
    """Return them for the entry point ``hook-dirs`` in the group ``pyinstaller40``."""
    return [str(Path(__file__).parent)]

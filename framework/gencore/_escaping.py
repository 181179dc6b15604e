"""Spells out what a text of unknown origin would do to a terminal or shell, or hide."""

import shlex
from pathlib import Path

__all__ = ["escape_unprintable", "quote_path"]


def escape_unprintable(text: str) -> str:
    """Show control characters, marks that turn text around, and lone surrogates as escapes."""
    return text if text.isprintable() else "".join(map(_spell_out, text))


def _spell_out(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "surrogatepass").decode()


def quote_path(path: Path) -> str:
    """Quote a path for a command line: zsh replaces ``=ls`` by a program, ``-x`` is an option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith(("-", "=")) and text != "-" else text)

"""Interprets ``kernel.core_pattern``: where a core goes, and under which name.

The rules are those of core(5) and of ``format_corename`` in the kernel's ``fs/coredump.c``.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Self

__all__ = ["CorePattern"]

_NUMBER: Final = r"\d+"
_SPECIFIER: Final = re.compile(r"%(.?)", re.DOTALL)


class CorePattern(NamedTuple):
    """The pattern, and whether the kernel appends ``.PID`` to a name that has no ``%p``."""

    text: str
    uses_pid: bool = False

    @classmethod
    def read(cls) -> Self:
        """Read the current pattern. Raises OSError if /proc does not have it."""
        sysctl = Path("/proc/sys/kernel")
        text = (sysctl / "core_pattern").read_text(errors="surrogateescape").rstrip("\n")
        return cls(text, (sysctl / "core_uses_pid").read_text().strip() != "0")

    @property
    def handler(self) -> str | None:
        """The program or socket that receives cores instead of a file."""
        return self.text[1:].strip() if self.text[:1] == "|" else self._socket

    @property
    def _socket(self) -> str | None:
        return self.text if self.text[:1] == "@" else None

    @property
    def absolute(self) -> bool:
        """Whether cores go to a fixed place instead of the process's directory."""
        return self.text.startswith("/")

    @property
    def fixed_directories(self) -> Path:
        """The leading directories whose names hold no specifier."""
        parts = Path(self.text).parent.parts
        fixed = parts[: _first_variable(parts)]
        return Path(*fixed) if fixed else Path()

    @property
    def directories_vary(self) -> bool:
        """Whether the name of a directory in the pattern holds a specifier."""
        return "%" in str(Path(self.text).parent)

    def expression(self, pid: int) -> list[re.Pattern[str]]:
        """Return one regular expression for each component of the path of child *pid*'s core."""
        values = _values(pid)
        text = self.text
        if self.uses_pid and "%p" not in text:
            text += ".%p"
        return [re.compile("".join(_translate(part, values))) for part in text.split("/") if part]

    def find(self, pid: int) -> Iterator[Path]:
        """Find the regular files that the kernel may have written for child *pid*."""
        yield from _descend(Path("/"), self.expression(pid))


def _first_variable(parts: tuple[str, ...]) -> int:
    return next((i for i, part in enumerate(parts) if "%" in part), len(parts))


def _descend(directory: Path, expressions: list[re.Pattern[str]]) -> Iterator[Path]:
    first, *rest = expressions
    try:
        names = [name for name in os.listdir(directory) if first.fullmatch(name)]
    except OSError:
        return
    for name in names:
        path = directory / name
        if rest:
            yield from _descend(path, rest)
        elif path.is_file() and not path.is_symlink():
            yield path


def _values(pid: int) -> Mapping[str, str]:
    """Regular expressions for what each specifier stands for in the core of child *pid*."""
    executable = os.readlink("/proc/thread-self/exe")
    return {
        "%": "%",
        "p": str(pid),
        "i": str(pid),  # the child has one thread
        "P": _NUMBER,  # as the initial PID namespace sees it: not known in a container
        "I": _NUMBER,
        "u": str(os.getuid()) if _initial_user_namespace() else _NUMBER,
        "g": str(os.getgid()) if _initial_user_namespace() else _NUMBER,
        "d": r"[012]",
        "s": "11",
        "t": _NUMBER,
        "h": _escaped(os.uname().nodename),
        "e": _escaped(Path("/proc/thread-self/comm").read_text().rstrip("\n")) + "|.{1,15}",
        "f": _escaped(executable.rpartition("/")[2]),
        "E": _escaped(executable),
        "c": _NUMBER,
        "C": _NUMBER,
        "F": r"\d*",  # a pidfd for a handler; nothing in the name of a file
    }


def _initial_user_namespace() -> bool:
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


def _escaped(value: str) -> str:
    value = value.replace("/", "!")
    return re.escape(re.sub(r"^\.\.?$", lambda match: "!" * len(match[0]), value))


def _translate(part: str, values: Mapping[str, str]) -> Iterator[str]:
    position = 0
    for match in _SPECIFIER.finditer(part):
        yield re.escape(part[position : match.start()])
        # An unknown specifier, and a lone "%" at the end, disappear.
        yield f"(?:{values.get(match[1], '')})"
        position = match.end()
    yield re.escape(part[position:])

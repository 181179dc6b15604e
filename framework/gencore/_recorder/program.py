"""The command by which this process has another interpreter run a part of gencore.

Loads little: it runs at the start of every process that is armed with triggers.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

from gencore._runtime.platform_agent import agent

__all__ = ["LEFT_OUT", "command_of", "why_no_program"]

LEFT_OUT: Final = [
    b"GENCORE_ARM",
    b"GENCORE_TRIGGERS",
    b"GENCORE_CONFIG",
    b"GENCORE_BACKEND",
    b"GENCORE_DIRECTORY",
]
"""What is settled already, or is not meant for a recorder."""
_PATHS: Final = (
    "import sys; end = int(sys.argv[1]) + 2; "
    "sys.path += [p for p in sys.argv[2:end] if p not in sys.path]; del sys.argv[1:end]; "
)


def why_no_program() -> str | None:
    """Return why no other interpreter can be started here. Raises `Unsupported`."""
    if getattr(sys, "frozen", False):
        return "the program is frozen, and has no Python interpreter of its own"
    if agent().runs(os.fsencode(sys.executable or "/")):
        return None
    return f"sys.executable is {sys.executable!r}, which this process does not run"


def command_of(code: str, arguments: Sequence[str] = ()) -> list[bytes]:
    """Return the command of an interpreter that runs *code*; its path first.

    It finds modules where this process does, but reads nothing from the working directory.
    *arguments* are its `sys.argv` behind the first.
    """
    paths = [path for path in map(str, sys.path) if os.path.isabs(path)]  # noqa: PTH117
    command = [sys.executable, "-I", "-c", _PATHS + code, str(len(paths)), *paths, *arguments]
    return list(map(os.fsencode, command))

"""Interprets ``kern.corefile``: where macOS writes a core, and under which name.

The rules are those of ``proc_core_name`` in XNU's ``bsd/kern/kern_proc.c`` and of ``coredump`` in
``bsd/kern/kern_core.c``; core(5) of macOS names the default only, ``/cores/core.%P``.
"""

import os
import re
from pathlib import Path
from typing import Final, Self

import attrs

__all__ = ["CorePattern"]

_SPECIFIER: Final = re.compile(r"%(.?)", re.DOTALL)
_LONGEST: Final = 1024
"""MAXPATHLEN, with the NUL at the end."""


@attrs.frozen
class CorePattern:
    """The pattern, and the kernel's name for this process, which a fork inherits."""

    text: str
    process_name: str

    @classmethod
    def read(cls) -> Self:
        """Read the current pattern. Raises OSError."""
        from gencore_backends.macos import _native

        return cls(_native.sysctl_text("kern.corefile"), _native.identity()[0])

    @property
    def absolute(self) -> bool:
        """Whether cores go to a fixed place instead of the process's directory."""
        return self.path(1).is_absolute()

    @property
    def unique(self) -> bool:
        """Whether two processes have cores of different names."""
        return self.path(1) != self.path(2)

    @property
    def directory(self) -> Path | None:
        """Where cores go; None if that varies. The kernel creates no directory."""
        parent = self.path(1).parent
        return parent if parent == self.path(2).parent else None

    def path(self, pid: int) -> Path:
        """Return the path of child *pid*'s core. A relative one is below the child's directory.

        If the pattern yields no name, the kernel falls back to the default.
        """
        if "" in _SPECIFIER.findall(self.text):  # a lone "%" at the end
            return _default(pid)
        values = {
            "%": "%",
            "N": self.process_name,
            "P": str(pid),
            "U": str(os.geteuid()),
        }
        # An unknown specifier disappears.
        name = _SPECIFIER.sub(lambda match: values.get(match[1], ""), self.text)
        return Path(name) if len(os.fsencode(name)) < _LONGEST else _default(pid)


def _default(pid: int) -> Path:
    return Path(f"/cores/core.{pid}")

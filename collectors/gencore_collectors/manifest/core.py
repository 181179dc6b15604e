"""The section ``core``: the core's name, hashes and size, and what its own headers say of it."""

import io
from typing import Any, Final

from gencore import CoreSink, CoreStream, DumpInProgress
from gencore.collector import Packing
from gencore.errors import IntegrityError
from gencore.request import Content
from gencore.target import Target
from gencore_collectors.manifest.kernel_text import read

__all__ = ["CoreReader", "section"]

_LEFT_OUT: Final[dict[Content, list[str]]] = {
    "full": [],
    "private": ["clean-file-backed"],
    "stacks": ["all-but-stacks"],
    "triage": ["all-but-stacks"],
}
_BEGINNING: Final = 4 << 20
"""Bytes: 70,000 program headers, more than the mappings that a kernel permits by default."""
_FORMATS: Final = {b"\x7fELF": "elf", b"MDMP": "minidump", b"\xcf\xfa\xed\xfe": "mach-o"}
"""What a file begins with: elf(5), MINIDUMP_HEADER of Windows, and MH_MAGIC_64 of macOS."""


class CoreReader(CoreSink):
    """Keeps the beginning of a core, until the program headers in it are counted."""

    def __init__(self) -> None:
        self._beginning = bytearray()
        self.format: str | None = None
        self.load_segments: int | None = None

    def write(self, chunk: memoryview) -> None:
        """Keep enough; the framework hashes what it reads."""
        missing = _BEGINNING - len(self._beginning)
        if missing > 0:
            self._beginning += chunk[:missing]

    def close(self) -> None:
        """Count."""
        from gencore.corefile import CoreFile

        self.format = _FORMATS.get(bytes(self._beginning[:4]))
        try:
            with CoreFile(io.BytesIO(self._beginning)) as core:
                self.load_segments = len(core.program_headers)
        except IntegrityError:  # cut off in the headers, or more of them than were kept
            self.load_segments = None
        self._beginning.clear()


def section(dump: DumpInProgress, reader: CoreReader | None) -> dict[str, Any] | None:
    """Return it, or None if there is no core."""
    if dump.core is None:
        return None
    return {
        "file": _file(dump, dump.core),
        "format": reader.format if reader is not None else None,
        "size": dump.core.size - dump.core.missing,
        "expected_size": dump.core.size,
        "sha256": dump.core_sha256,
        "tree_sha256": _tree_hash(dump.packing),
        "truncated": dump.core.missing > 0,
        "incomplete": dump.core.incomplete,
        "content": dump.request.content,
        "filter": _LEFT_OUT[dump.request.content],
        "load_segments": reader.load_segments if reader is not None else None,
        "threads": sum(record.registers != "missing" for record in dump.threads),
        "pid_in_core": _pid_in_core(dump.request.target),
        "codec": _codec(dump.packing),
    }


def _pid_in_core(target: Target) -> int:
    """Return its process ID as the process itself sees it, in a namespace of its own perhaps."""
    rows = (line.split() for line in (read(target.proc("status")) or "").splitlines())
    inner = [row[-1] for row in rows if row and row[0] == "NStgid:"]
    return int(inner[0]) if inner else target.pid


def _file(dump: DumpInProgress, core: CoreStream) -> str | None:
    """Return where the core is: a collector that packs says so itself, or nobody knows."""
    if dump.packed:
        return dump.packing.core if dump.packing is not None else None
    truncated = "truncated." if core.incomplete is not None else ""
    return f"{dump.name}.{truncated}core"


def _tree_hash(packing: Packing | None) -> str | None:
    """Return that of the core in the packed file, as the collector that packs states it."""
    if packing is None:
        return None
    return next((f.tree_sha256 for f in packing.files if f.name == packing.core), None)


def _codec(packing: Packing | None) -> dict[str, Any]:
    return {
        "compression": packing.compression if packing is not None else None,
        "level": packing.level if packing is not None else None,
        "encryption": None,
        "recipients": [],
    }

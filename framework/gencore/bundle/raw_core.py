"""A core without a bundle: of the kernel, of gcore or of gencore, compressed or not.

It comes without the files that were mapped. Those of this machine take their place, each only if
its build ID is that in the core: another version would give stacks that never were.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final

import attrs

from gencore._elf_identity import BEGINNING, build_id_of, read_identity
from gencore._runtime.regular_file import open_regular
from gencore.bundle.contents import check_path
from gencore.bundle.core_facts import facts_of
from gencore.bundle.opened_core import WITHOUT_MANIFEST, FileOrigin, LooseFile, OpenedCore
from gencore.bundle.verification import Check
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

__all__ = ["RawCore"]

_PIECE: Final = 1 << 20
_EXECUTE: Final = 1
_UNNAMED: Final = "core"
_NAMES_SHOWN: Final = 3
_OF_LINKERS: Final = ("lib64", "lib")
_VIRTUAL: Final = ("dev/", "proc/", "sys/")
"""Where reading a file may have effects, and no library is."""


@attrs.frozen
class _Here:
    """A file of this machine that is the mapped one."""

    source: str
    size: int
    soname: str | None


class RawCore(OpenedCore):
    """An open core; its members are the core and the files of this machine that belong to it."""

    kind = "core"
    has_manifest = False

    def __init__(
        self,
        path: Path,
        open_core: Callable[[], io.BufferedIOBase],
        *,
        in_place: Path | None = None,
    ) -> None:
        """Read the headers of what *open_core* opens. Raises `IntegrityError` and OSError."""
        self.path = path
        self.top = f"{path.name if path.name.isprintable() else _UNNAMED}.extracted"
        self.in_place = in_place
        self._open_core = open_core
        file = open_core()
        self._core = CoreFile(file, name=str(path))
        self._size = file.seek(0, io.SEEK_END)

    @cached_property
    def members(self) -> tuple[LooseFile, ...]:  # type: ignore[override]  # read when it is needed
        """The core, and each file under its own path and under those that the linker may use."""
        files = {name: LooseFile(name, here.size) for name, here in self._sources.items()}
        return LooseFile("core", self._size), *files.values()

    def open(self, path: str) -> io.BufferedIOBase:
        """Open a member. Raises `IntegrityError` and OSError."""
        if path == "core":
            return self._open_core()
        if path not in self._sources:
            raise IntegrityError(f"{self.path}: {path!r} belongs to no file of this machine")
        return io.BufferedReader(open_regular(self._sources[path].source))

    def find(self, mapped: str) -> LooseFile | None:
        """Return the file of this machine that is the mapped one, or None."""
        here = self._sources.get(mapped.lstrip("/"))
        return None if here is None else LooseFile(mapped.lstrip("/"), here.size)

    def facts(self) -> dict[str, Any]:
        """Return what the core says itself."""
        return {
            "name": self.path.name,
            **facts_of(self._core, self._size),
            "libraries": self._rows,
        }

    @property
    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "path": file.path,
                "status": "ok" if file.origin == "machine" else "unreadable",
                "reason": file.reason,
                "build_id": file.build_id,
            }
            for file in self.mapped_files()
        ]

    def mapped_files(self) -> tuple[FileOrigin, ...]:
        """Return each mapped ELF file, and whether it is on this machine."""
        return tuple(file for file, _ in self._looked_up)

    def lacks(self) -> Iterator[str]:
        """Return what a bundle would add."""
        missing = [file.path for file in self.mapped_files() if file.origin == "missing"]
        if missing:
            names = ", ".join(missing[:_NAMES_SHOWN]) + (", ..." if missing[_NAMES_SHOWN:] else "")
            yield f"{len(missing)} of {len(self.mapped_files())} mapped files: {names}"
        yield WITHOUT_MANIFEST

    def verify(self, progress: Callable[[int], object]) -> tuple[Check, ...]:
        """Compare headers with size, and build IDs with this machine's files."""
        progress(self._size)
        flaw = self._core.why_incomplete()
        missing = tuple(
            f"{file.path}: {file.reason}" for file in self.mapped_files() if file.reason
        )
        return Check("core", (flaw,) if flaw else ()), Check("libraries", missing)

    def close(self) -> None:
        """Close the core."""
        self._core.close()

    @cached_property
    def _looked_up(self) -> tuple[tuple[FileOrigin, _Here | None], ...]:
        found = [self._look_up(*row) for row in self._core.build_ids.items()]
        unknown = "its beginning is not in the core, so that nothing identifies it"
        rest = self._code_without_beginning()
        return *found, *((_missing(path, None, unknown), None) for path in rest)

    def _code_without_beginning(self) -> list[str]:
        code = {h.address for h in self._core.program_headers if h.flags & _EXECUTE}
        paths = (row.path for row in self._core.mapped_ranges if row.start in code)
        return [path for path in dict.fromkeys(paths) if path not in self._core.build_ids]

    def _look_up(self, path: str, build_id: str | None) -> tuple[FileOrigin, _Here | None]:
        if build_id is None:
            return _missing(path, None, "it has no build ID, so that nothing identifies it"), None
        try:
            here = _identical(path, build_id)
        except (OSError, IntegrityError, ValueError) as error:
            return _missing(path, build_id, f"not on this machine: {_why(error)}"), None
        if here is None:
            return _missing(path, build_id, "this machine has another version of it"), None
        return FileOrigin(path=path, build_id=build_id, origin="machine"), here

    @cached_property
    def _sources(self) -> Mapping[str, _Here]:
        found: dict[str, _Here] = {}
        for file, here in self._looked_up:
            if here is not None:
                found.update(dict.fromkeys(_names(file.path, here.soname), here) | found)
        return found


def _missing(path: str, build_id: str | None, reason: str) -> FileOrigin:
    return FileOrigin(path=path, build_id=build_id, origin="missing", reason=reason)


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _identical(path: str, build_id: str) -> _Here | None:
    """Return the file at *path* if it has this build ID. Raises OSError and `IntegrityError`."""
    name = path.lstrip("/")
    if name == path or name.startswith((*_VIRTUAL, *_mounted_on_access())):
        raise IntegrityError("its path is not that of a file")
    check_path(name)
    with open_regular(path) as raw, io.BufferedReader(raw) as file:
        if build_id_of(file.read(BEGINNING)) != build_id:
            return None
        file.seek(0)
        _, soname = read_identity(file)
        return _Here(path, file.seek(0, io.SEEK_END), soname)


@cache
def _mounted_on_access() -> tuple[str, ...]:
    """Return where autofs(5) mounts what is opened, be it of a machine that the core names."""
    with suppress(OSError), Path("/proc/self/mountinfo").open("rb") as file:
        rows = [row.split(b" ") for row in file]
        places = [row[4] for row in rows if b"autofs" in row[row.index(b"-") :]]
        texts = [place.decode("unicode_escape", "replace") for place in places]
        return tuple(f"{text.strip('/')}/" for text in texts)
    return ()


def _names(path: str, soname: str | None) -> Iterator[str]:
    """Yield the paths below a sysroot that the dynamic linker may know a library by.

    The kernel notes none but the real one: neither that of a link with the library's soname, nor
    ``/lib`` where that is a link to ``/usr/lib``, nor that by which executables name the dynamic
    linker itself.
    """
    real = PurePosixPath(path)
    for name in dict.fromkeys((real.name, soname or real.name)):
        if "/" in name or name in {"", ".", ".."}:
            continue
        yield str(real.with_name(name)).lstrip("/")
        _, *parts = real.parent.parts
        if parts[:1] == ["usr"] and parts[1:] and Path("/", parts[1]).is_symlink():
            yield "/".join((*parts[1:], name))
    for folder in _OF_LINKERS if real.name.startswith("ld-") else ():
        with suppress(OSError):
            if Path("/", folder, real.name).samefile(path):
                yield f"{folder}/{real.name}"

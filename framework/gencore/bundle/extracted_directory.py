"""A bundle that was extracted: the directory with its files.

Only regular files below it are believed to be its own: a link may lead to any
file of this machine.
"""

import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from gencore._escaping import quote_path
from gencore._runtime.regular_file import open_regular
from gencore.bundle.contents import BLOCK_SIZE, check_path
from gencore.bundle.core_facts import facts_of
from gencore.bundle.manifest import LARGEST_MANIFEST, ManifestValue, parse_manifest
from gencore.bundle.opened_core import WITHOUT_MANIFEST, LooseFile, OpenedCore
from gencore.bundle.tree_hash import block_hash, root_hash
from gencore.bundle.verification import Check, library_problems
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

__all__ = ["ExtractedDirectory"]

_MOST: Final = 1 << 17
"""Files and directories; a bundle's table of contents has room for 50,000 files."""
_DELETED: Final = " (deleted)"


class ExtractedDirectory(OpenedCore):
    """An extracted bundle. Raises `IntegrityError` if it is another directory."""

    kind = "directory"
    members: tuple[LooseFile, ...]

    def __init__(self, path: Path) -> None:
        self.path = path
        self.top = path.resolve().name
        self.members = tuple(LooseFile(name, size) for name, size in sorted(_files(path)))
        self._by_path = {member.path: member for member in self.members}
        if not {"core", "manifest.json"} & self._by_path.keys():
            raise IntegrityError(
                f"{path}: not an extracted bundle: core and manifest.json are missing",
                remedy=f"list the bundles in it: gencore list {quote_path(path)}",
            )
        self.has_manifest = "manifest.json" in self._by_path
        self.in_place = path / "core"

    def open(self, path: str) -> io.BufferedIOBase:
        """Open one of the files. Raises `IntegrityError`."""
        if path not in self._by_path:
            raise IntegrityError(f"{self.path}: {path!r} not found in the directory")
        try:
            return io.BufferedReader(open_regular(str(self.path / path), flags=os.O_NOFOLLOW))
        except OSError as error:
            raise IntegrityError(f"{self.path / path}: cannot be read: {error}") from error

    def find(self, mapped: str) -> LooseFile | None:
        """Return the file that was mapped from the path *mapped*, or None."""
        names = (name.lstrip("/") for name in (mapped, mapped.removesuffix(_DELETED)))
        return next((self._by_path[name] for name in names if name in self._by_path), None)

    @cached_property
    def _facts(self) -> dict[str, Any]:
        if self.has_manifest:
            with self.open("manifest.json") as file:
                return parse_manifest(file.read(LARGEST_MANIFEST + 1))
        with CoreFile(self.open("core")) as core:
            return {"name": self.top, **facts_of(core, self._by_path["core"].size)}

    def facts(self) -> dict[str, Any]:
        """Return the manifest, or what the core says if a core alone was extracted."""
        return self._facts

    def lacks(self) -> Iterator[str]:
        """Return what a bundle would add."""
        if not self.has_manifest:
            yield WITHOUT_MANIFEST

    def verify(self, progress: Callable[[int], object]) -> tuple[Check, ...]:
        """Compare each file with its hash in the manifest; check the core and what it maps."""
        checks = [Check("hashes", tuple(self._hash_problems(progress)))]
        if "core" not in self._by_path:
            return *checks, Check("core", ("not found in the directory",))
        with CoreFile(self.open("core")) as core:
            flaw = core.why_incomplete()
            libraries = tuple(library_problems(self, core.build_ids, self.kind))
        return *checks, Check("core", (flaw,) if flaw else ()), Check("libraries", libraries)

    def _hash_problems(self, progress: Callable[[int], object]) -> Iterator[str]:
        for row in ManifestValue(self._facts)["files"]:
            name, sha256, tree = str(row["name"]), row["sha256"].text, row["tree_sha256"].text
            if name not in self._by_path:
                yield f"{name}: listed in the manifest, but missing from the directory"
                continue
            with self.open(name) as file:
                differs = tree is not None and tree != root_hash(_block_hashes(file))
                file.seek(0)
                differs |= sha256 is not None and sha256 != _sha256(file)
                if differs:
                    yield f"{name}: does not match its hash in the manifest"
            progress(self._by_path[name].size)

    def close(self) -> None:
        """Do nothing: no file is kept open."""


def _sha256(file: io.BufferedIOBase) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _block_hashes(file: io.BufferedIOBase) -> Iterator[bytes]:
    while block := file.read(BLOCK_SIZE):
        yield block_hash(block)


def _files(top: Path) -> Iterator[tuple[str, int]]:
    """Yield path and size of each file. Raises `IntegrityError` for anything else than files."""
    waiting, seen = [""], 0
    while waiting:
        parent = waiting.pop()
        with os.scandir(top / parent) as entries:
            for entry in entries:
                name, status = f"{parent}{entry.name}", entry.stat(follow_symlinks=False)
                check_path(name)
                seen += 1
                if seen > _MOST:
                    raise IntegrityError(f"{top}: more than {_MOST:,} files")
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(f"{name}/")
                elif stat.S_ISREG(status.st_mode):
                    yield name, status.st_size
                else:
                    raise IntegrityError(
                        f"{top / name}: a link or a device, which no extracted bundle has",
                        remedy="extract the bundle again",
                    )

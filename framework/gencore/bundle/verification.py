"""Verifies a whole bundle: structure, every hash, the core, the libraries that the core maps."""

import io
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any, Protocol

import attrs

from gencore._elf_identity import BEGINNING, build_id_of
from gencore.bundle.reader import BundleReader
from gencore.bundle.streamed_member import AlreadyPassed
from gencore.bundle.walk import walk
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

__all__ = ["Check", "library_problems", "verify"]


@attrs.frozen
class Check:
    """One check, with the problems it found."""

    name: str
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it found no problem."""
        return not self.problems


def verify(
    bundle: BundleReader, progress: Callable[[int], object] = lambda _: None
) -> tuple[Check, ...]:
    """Return all checks. *progress* is called with the number of bytes of each step.

    Raises `IntegrityError` if the archive cannot be read to its end.
    """
    hashes: dict[str, str | None] = {}
    cores: list[_Core] = []
    for member, content in walk(bundle, progress):
        if member.path == "core":
            try:
                cores.append(_Core.look_at(content))
            except (AlreadyPassed, IntegrityError):
                if not content.missed:
                    raise
        hashes[member.path] = content.hash()
    manifest = bundle.manifest()
    checks = [Check("archive"), Check("hashes", tuple(_hash_problems(bundle, manifest, hashes)))]
    if "core" not in hashes:
        return (*checks, Check("core", ("not found in the bundle",)))
    core = cores[0] if cores else _Core.look_at(bundle.open("core"))
    libraries = Check("libraries", tuple(library_problems(bundle, core.build_ids, "bundle")))
    return (*checks, Check("core", (core.flaw,) if core.flaw else ()), libraries)


@attrs.frozen
class _Core:
    """What `verify` needs to know about a core."""

    flaw: str | None
    build_ids: Mapping[str, str | None]

    @classmethod
    def look_at(cls, file: io.BufferedIOBase) -> "_Core":
        """Read it; in one pass if its notes come first, which `linux-sigsegv` puts at the end."""
        with CoreFile(file) as core:
            return cls(core.why_incomplete(), core.build_ids)


def _hash_problems(
    bundle: BundleReader, manifest: Mapping[str, Any], hashes: Mapping[str, str | None]
) -> Iterator[str]:
    """Compare with each hash in the table of contents and in the manifest."""
    trees = {member.path: member.tree for member in bundle.members}
    for path, sha256, tree in _rows(manifest):
        if path not in hashes:
            yield f"{path}: listed in the manifest, but missing from the bundle"
        elif _differs(sha256, hashes[path]) or _differs(tree, trees[path]):
            yield f"{path}: does not match its hash in the manifest"
    for member in bundle.members:
        if _differs(member.sha256, hashes[member.path]):
            yield f"{member.path}: does not match its hash in the table of contents"


def _differs(claimed: object, found: str | None) -> bool:
    """Whether there is a claim, of whatever type, that is not true."""
    return claimed is not None and claimed != found


def _rows(manifest: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    rows = manifest.get("files")
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict) or not isinstance(row.get("name"), str):
            raise IntegrityError("the manifest's list of files is invalid")
        yield row["name"], row.get("sha256"), row.get("tree_sha256")


class _Files(Protocol):
    """The files that came along with a core."""

    def find(self, mapped: str, /) -> Any:
        """Return the one that was mapped from a path; None if it is missing."""

    def open(self, path: str, /) -> io.BufferedIOBase:
        """Open one."""


def library_problems(
    files: _Files, build_ids: Mapping[str, str | None], kind: str
) -> Iterator[str]:
    """Yield what is wrong with the files that a core maps; *kind* is what they are in."""
    build_id_in = cache(partial(_build_id, files))  # many paths may lead to one member
    for path, build_id in build_ids.items():
        member = files.find(path)
        if member is None:
            yield f"{path}: mapped in the core, but missing from the {kind}"
        elif build_id is not None and build_id != build_id_in(member.path):
            yield f"{path}: build ID differs from that of the mapped file, {build_id}"


def _build_id(files: _Files, path: str) -> str | None:
    with files.open(path) as file:
        return build_id_of(file.read(BEGINNING))

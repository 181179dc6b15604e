"""What every opened input offers: a core, what came along with it, and what it lacks."""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import attrs

from gencore.bundle.contents import Member
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.verification import Check

__all__ = ["WITHOUT_MANIFEST", "FileOrigin", "LooseFile", "OpenedCore"]

WITHOUT_MANIFEST: Final = (
    "the manifest: the names that threads have in Python, versions, limits, the host"
)


@attrs.frozen
class LooseFile:
    """A file that is in no archive; it has the attributes of a `Member`."""

    path: str
    """Below the folder that it would be extracted into."""
    size: int
    """Bytes."""
    offset: None = None
    sha256: None = None
    tree: None = None


@attrs.frozen(kw_only=True)
class FileOrigin:
    """A file that the process had mapped: the executable, a library, data."""

    path: str
    build_id: str | None
    """Of the mapped file, as the core or the manifest has it."""
    origin: str
    """Where its bytes come from: ``bundle``, ``directory``, ``machine``, or ``missing``."""
    reason: str | None = None
    """Why it is missing."""


class OpenedCore(ABC):
    """A bundle, an extracted one, or a core alone. Nothing in it is trusted without a check."""

    kind: ClassVar[str]
    """``bundle``, ``directory`` or ``core``."""
    path: Path
    top: str
    """The name of the folder that it is extracted into."""
    members: tuple[Member | LooseFile, ...]
    """What can be opened and extracted; the core is ``core``."""
    has_manifest: bool = True
    in_place: Path | None = None
    """The core's file if readers can use that as it is."""

    @abstractmethod
    def open(self, path: str) -> io.BufferedIOBase:
        """Open a member. Raises `IntegrityError`."""

    @abstractmethod
    def find(self, mapped: str) -> Member | LooseFile | None:
        """Return the member that is the file mapped from the path *mapped*, or None."""

    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """Return the manifest, or what a core itself says, in the form of a manifest."""

    @abstractmethod
    def verify(self, progress: Callable[[int], object]) -> tuple[Check, ...]:
        """Return all checks; *progress* is called with the number of bytes of each step."""

    @abstractmethod
    def close(self) -> None:
        """Close it; its members can no longer be read."""

    def walk(
        self,
        progress: Callable[[int], object],
        *,
        hashed: bool = True,  # noqa: ARG002 - only a bundle has hashes
    ) -> Iterator[tuple[Member | LooseFile, io.BufferedIOBase]]:
        """Yield each member with its bytes, to be read before the next one is asked for.

        Unless *hashed*, the hashes that a bundle has are not compared.
        """
        for member in self.members:
            with self.open(member.path) as file:
                yield member, file
            progress(member.size)

    def mapped_files(self) -> Iterable[FileOrigin]:
        """Return what the process had mapped, and where the bytes of that come from."""
        for row in ManifestValue(self.facts())["libraries"]:
            path = row["path"].text or ""
            missing = self.find(path) is None
            yield FileOrigin(
                path=path,
                build_id=row["build_id"].text,
                origin="missing" if missing else self.kind,
                reason=(row["reason"].text or f"not in the {self.kind}") if missing else None,
            )

    def lacks(self) -> Iterable[str]:
        """Return what a bundle would add."""
        return ()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

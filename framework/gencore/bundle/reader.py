"""Opens a bundle and its members. Nothing in it is trusted without a check."""

from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from gencore._escaping import quote_path
from gencore.bundle.contents import BLOCK_SIZE, Contents, Member, read_contents
from gencore.bundle.manifest import LARGEST_MANIFEST, parse_manifest
from gencore.bundle.seeking import LazySeeking
from gencore.bundle.stream import stream_of_member
from gencore.errors import IntegrityError

__all__ = ["BundleReader", "MemberFile"]

_DELETED: Final = " (deleted)"
_MANIFEST: Final = "manifest.json"
"""A dump without the collector of this name has none."""


class BundleReader:
    """An open bundle. Raises `IntegrityError` for damaged or inconsistent content."""

    def __init__(self, path: Path | str) -> None:
        """Read its table of contents. Raises OSError if it cannot be opened."""
        self.path = Path(path)
        self.file = self.path.open("rb")
        try:
            self.contents = self._read_contents()
            self.top, self.members = self.contents.top, self.contents.members
            self._by_path = {member.path: member for member in self.members}
        except BaseException:
            self.close()
            raise

    def _read_contents(self) -> Contents:
        try:
            return read_contents(self.file)
        except IntegrityError as error:
            remedy = f"extract what is readable: tar xf {quote_path(self.path)}"
            raise IntegrityError(f"{self.path}: {error.message}", remedy=remedy) from error

    def open(self, path: str) -> "MemberFile":
        """Open one member; only its part of the bundle is decompressed.

        It is found by the table of contents, which may lead elsewhere than reading the archive
        from its beginning does: `extract` and `verify` read it so, and believe nothing else.
        """
        if path not in self._by_path:
            raise IntegrityError(f"{self.path}: {path!r} not found in the bundle")
        return MemberFile(self.file, self, self._by_path[path])

    def find(self, mapped: str) -> Member | None:
        """Return the member that holds the file mapped from the path *mapped*, or None.

        The path may end in the kernel's mark of a deleted file, which the member's name has only
        if another file took its place.
        """
        names = (name.lstrip("/") for name in (mapped, mapped.removesuffix(_DELETED)))
        return next((self._by_path[name] for name in names if name in self._by_path), None)

    def manifest(self) -> dict[str, Any]:
        """Return the manifest. Its fields are untrusted: check the type of each one you use."""
        if _MANIFEST not in self._by_path:
            raise IntegrityError(
                f"{self.path}: {_MANIFEST!r} not found in the bundle",
                remedy=f"read the folder that this makes: gencore extract {quote_path(self.path)}",
            )
        with self.open(_MANIFEST) as file:
            return parse_manifest(file.read(LARGEST_MANIFEST + 1))

    def close(self) -> None:
        """Close the bundle; its members can no longer be read."""
        self.file.close()

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bundle."""
        self.close()


class MemberFile(LazySeeking):
    """One member. Without blocks in the table, seeking back decompresses it from its beginning."""

    def __init__(self, file: BinaryIO, bundle: BundleReader, member: Member) -> None:
        super().__init__(member.size)
        self._file = file
        self._contents = bundle.contents
        self._member = member
        self._start(0)

    def _start(self, block: int) -> None:
        self._stream = stream_of_member(self._file, self._contents, self._member, block)
        self._position = block * BLOCK_SIZE

    def read(self, size: int | None = -1) -> bytes:
        """Read *size* bytes, or to the end. Raises `IntegrityError`."""
        self._go()
        left = self.size - self._position
        size = left if size is None or size < 0 else min(size, left)
        data = self._stream.read_exactly(size)
        self._position = self._wanted = self._position + size
        return data

    def _go(self) -> None:
        block = self._wanted // BLOCK_SIZE if self._contents.has_blocks else 0
        if self._wanted < self._position or block * BLOCK_SIZE > self._position:
            self._start(block)
        while self._position < self._wanted:
            self._position += len(self._stream.read_some(self._wanted - self._position))

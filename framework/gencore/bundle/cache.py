"""The unpacked copy of a bundle that debuggers work on: private, reused, removed on request."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import attrs

from gencore.bundle.extraction import extract
from gencore.bundle.manifest import ManifestValue
from gencore.bundle.reader import BundleReader
from gencore.errors import IntegrityError, OutputError

__all__ = ["UnpackedBundle", "remove_all", "unpack"]


@attrs.frozen
class UnpackedBundle:
    """Where the files of an unpacked bundle are."""

    folder: Path
    """A sysroot: every library is below it under its own path."""
    core: Path
    executable: Path


def unpack(
    bundle: BundleReader, progress: Callable[[int], object] = lambda _: None
) -> UnpackedBundle:
    """Return the bundle's copy in the cache, unpacked first if it is missing.

    Raises `IntegrityError` and `OutputError`.
    """
    executable = _executable(bundle)
    place = _cache() / _key(bundle.path)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            str(place), error.errno or 0, "cannot be created", remedy="set XDG_CACHE_HOME"
        ) from error
    folder = place / bundle.top
    try:
        if not folder.is_dir():
            extract(bundle, place, progress=progress)
    finally:
        with contextlib.suppress(OSError):
            place.rmdir()  # it is empty if that failed
    return UnpackedBundle(folder, folder / "core", folder / executable)


def remove_all() -> int:
    """Remove every copy; return how many there were."""
    cache = _cache()
    copies = list(cache.iterdir()) if cache.is_dir() else []
    for copy in copies:
        shutil.rmtree(copy)
    return len(copies)


def _cache() -> Path:
    """Return the directory that the XDG base directory specification gives to caches."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # relative ones are to be ignored
        base = f"{Path.home()}/.cache"
    return Path(base, "gencore", "bundles")


def _key(path: Path) -> str:
    """Return another name for another file, or the same file with other contents."""
    status = path.stat()
    identity = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}"
    return hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:32]


def _executable(bundle: BundleReader) -> str:
    """Return the executable's path below the folder. Raises `IntegrityError` if it is missing."""
    path = ManifestValue(bundle.manifest())["process"]["executable"]["path"].text
    member = bundle.find(path) if path is not None else None
    if member is None:
        raise IntegrityError(f"{bundle.path}: executable {path!r} not found in the bundle")
    if not os.fsencode(member.path).decode(errors="replace").isprintable():
        raise IntegrityError(  # a debugger would take the line after a newline for a command
            f"{bundle.path}: the executable's path {path!r} contains control characters"
        )
    return member.path

"""Lists the files that dyld has loaded into this process."""

from pathlib import Path
from typing import Final

from gencore import MappedFile

__all__ = ["mapped_files"]

_PARTS_OF_MACOS: Final = ("/usr/lib/", "/System/")


def mapped_files() -> tuple[MappedFile, ...]:
    """Return every image that has a file, the executable first.

    Since macOS 11 the system libraries exist only in the dyld shared cache, hundreds of them in
    every process, and no file has their names. They are left out silently: the shared cache's
    memory is in the core, and a debugger on the same build of macOS has the rest.
    """
    from gencore_backends.macos import _native

    paths = dict.fromkeys(_native.images())
    return tuple(MappedFile(path=path) for path in paths if not _is_in_cache_only(path))


def _is_in_cache_only(path: str) -> bool:
    return path.startswith(_PARTS_OF_MACOS) and not Path(path).exists()

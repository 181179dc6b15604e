"""Where gencore keeps what it can make again: a directory that only its user can write to."""

import errno
import os
import pwd
from pathlib import Path
from typing import Final

from gencore._private_directory import DIRECTORY, is_private
from gencore._runtime.os_thread import open_descriptor
from gencore.errors import OutputError, UsageError

__all__ = ["cache_directory", "foreign", "make_private", "open_kept", "open_private"]

_OWN_PLACE: Final = "set XDG_CACHE_HOME to a directory of your own"


def cache_directory(name: str) -> Path:
    """Return gencore's place *name* in what the XDG base directory specification calls the cache.

    Raises `UsageError` if the home directory is unknown.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # relative ones are to be ignored
        base = f"{_home()}/.cache"
    return Path(base, "gencore", name)


def _home() -> str:
    try:
        return os.environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError as error:  # a user of a container, known by number only
        raise UsageError("the home directory is unknown", remedy=_OWN_PLACE) from error


def make_private(cache: Path) -> None:
    """Make a `cache_directory`, gencore's own around it, and that of all caches.

    A home directory is not made: it may be that of a user who has none. Nothing is made in that of
    another user, who could not use it then: root may have the HOME of whoever called sudo. Who may
    write in one of the first two could put something else in the place of what is cached. Raises
    OSError.
    """
    for place in (cache.parent.parent, cache.parent, cache):
        if not place.exists() and place.parent.stat().st_uid not in {0, os.geteuid()}:
            raise foreign(place.parent, "belongs to another user")
        place.mkdir(mode=0o700, exist_ok=True)
    for place in (cache.parent, cache):
        status = place.stat()
        if {status.st_uid, place.lstat().st_uid} != {os.geteuid()}:  # a link may be of another
            raise foreign(place, "belongs to another user")
        if status.st_mode & 0o022:
            place.chmod(0o700)


def open_kept(name: str) -> int | None:
    """Open a `cache_directory`, made first if it is missing; None where nothing is to be kept.

    That is where there is no directory for caches, or others may have changed it. Raises OSError
    and `GencoreError`.
    """
    directory = cache_directory(name)
    if not directory.parent.parent.is_dir():
        return None
    make_private(directory)
    return open_private(directory)


def open_private(directory: Path) -> int | None:
    """Open one that is there; None if others may have changed it. Raises OSError."""
    fd = open_descriptor(directory, DIRECTORY)
    if is_private(os.fstat(fd)):
        return fd
    os.close(fd)
    return None


def foreign(place: Path, what: str, remedy: str = _OWN_PLACE) -> OutputError:
    """Return the error for a place that others could change."""
    return OutputError(str(place), errno.EPERM, what, remedy=remedy)

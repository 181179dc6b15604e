"""Which dumps in a directory are kept: the newest ones, within limits; the others are removed.

Only what is known for certain to be a dump of gencore's is counted or removed: regular files of
this user with one link each, whose name is one that the pipeline's dumps have, and whose contents
are what the name says. What has contents that nobody knows must be private, as gencore makes its
files, and beside a bundle, a core or a manifest, or one of these that has passed a filter: a name
alone is that of somebody's log too. All files of a dump go together. Other files, links,
directories, dumps with other names, and dumps that are still in progress are not touched.
"""

import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import attrs

from gencore._final_directory import FinalDirectory
from gencore._quantities import read_age, read_size
from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._runtime.regular_file import open_regular
from gencore.bundle.codecs import CODECS, Codec
from gencore.bundle.contents import read_contents
from gencore.errors import IntegrityError, UsageError
from gencore.report import Removal

__all__ = ["Retention"]

_MAGICS: Final = (b"\x7fELF", b"\xcf\xfa\xed\xfe")
"""How a core begins: ELF, and Mach-O of 64 bits. A truncated one may be shorter than that."""

_HEAD: Final = 4096
"""Bytes of a manifest in which its dump's name is."""
_IDENTITY: Final = ("st_dev", "st_ino", "st_nlink", "st_uid", "st_size", "st_mtime_ns")


def _to_bytes(value: Any) -> int | None:
    return None if value is None else read_size(value)


def _to_seconds(value: Any) -> float | None:
    return None if value is None else read_age(value)


def _check_count(_: object, __: object, count: Any) -> None:
    if count is not None and (type(count) is not int or count < 1):
        raise UsageError(f"keep_count={count!r} is not a whole number of at least 1")


@attrs.frozen(kw_only=True)
class Retention:
    """How much is kept; None is no limit. The newest dump always is. Raises `UsageError`.

    A size is a number of bytes, or text with a unit: ``20 GiB``. An age is a number of seconds, or
    text: ``90min``, ``12h``, ``7d``, ``4w``.
    """

    keep_count: int | None = attrs.field(default=None, validator=_check_count)
    """Dumps."""
    keep_bytes: int | None = attrs.field(default=None, converter=_to_bytes)
    """Bytes that all of them have on the disk."""
    keep_age: float | None = attrs.field(default=None, converter=_to_seconds)
    """Seconds since the last file of a dump was written."""
    keep_free: int | None = attrs.field(default=None, converter=_to_bytes)
    """Bytes that stay free on the file system, for this user."""

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return any(limit is not None for limit in attrs.astuple(self))

    @property
    def only_free(self) -> Self:
        """What can be asked for before a dump: room for it."""
        return attrs.evolve(self, keep_count=None, keep_bytes=None, keep_age=None)

    def apply(
        self, directory: Path, names: re.Pattern[str], kept: str | None = None
    ) -> Iterator[Removal]:
        """Remove the oldest dumps until the limits hold; yield each file that this is tried for.

        *names* matches the names of the dumps that are meant. That of the name *kept* stays, or
        else the newest. Raises `OutputError` and `Refused` if the directory cannot be used, and
        OSError if it cannot be read.
        """
        if not self.limited:
            return
        place = FinalDirectory(directory)
        try:
            yield from _Directory(place, names).shrink(self, kept)
        finally:
            place.close()


@attrs.frozen
class _Dump:
    """All files of one dump."""

    name: str
    files: Mapping[str, os.stat_result]
    """By their names."""

    @property
    def written_at(self) -> float:
        return max(status.st_mtime for status in self.files.values())

    @property
    def size(self) -> int:
        return sum(map(_size_on_disk, self.files.values()))


class _Directory:
    """The dumps in a directory, oldest first."""

    def __init__(self, place: FinalDirectory, names: re.Pattern[str]) -> None:
        self._place = place
        self._names = re.compile(rf"({names.pattern})\..+", re.DOTALL)
        self._free_at_first = place.free
        self._freed = 0
        self.dumps = sorted(self._find(), key=attrgetter("written_at", "name"))
        self._size = sum(dump.size for dump in self.dumps)
        self._in_use = [name for name in place.names if name[0] == "." and name.endswith(".part")]

    def _find(self) -> Iterator[_Dump]:
        groups: dict[str, list[str]] = {}
        for name in self._place.names:
            if match := self._names.fullmatch(name):
                groups.setdefault(match[1], []).append(name)
        for dump, files in groups.items():
            statuses = [self._status(dump, file) for file in files]
            ours = [status for status in statuses if status is not None]
            certain = any(_is_of_a_kind(file[len(dump) :]) for file in files)
            if certain and len(ours) == len(files):
                yield _Dump(dump, dict(zip(files, ours, strict=True)))

    def _status(self, dump: str, file: str) -> os.stat_result | None:
        """Return the status of a file if it is of gencore's making."""
        try:
            with open_regular(file, flags=os.O_NOFOLLOW, dir_fd=self._place.fd) as opened:
                status = os.fstat(opened.fileno())
                ours = status.st_uid == os.geteuid() and status.st_nlink == 1
                return status if ours and _is_what_it_says(opened, status, dump, file) else None
        except (OSError, IntegrityError) as error:
            reraise_if_from_handler(error)
            return None

    def shrink(self, limits: Retention, kept: str | None) -> Iterator[Removal]:
        """Remove dumps, the oldest first, as long as a limit is exceeded."""
        if kept is None and self.dumps:
            kept = self.dumps[-1].name
        for dump in list(self.dumps):
            reason = self._excess(limits, dump)
            if reason is None:
                return
            if dump.name != kept and not self._is_in_use(dump.name):
                self.dumps.remove(dump)
                self._size -= dump.size
                yield from self._remove(dump, reason)

    def _excess(self, limits: Retention, oldest: _Dump) -> str | None:
        """Return the limit that is exceeded, if one is."""
        exceeded = {
            "keep_count": len(self.dumps) > _limit(limits.keep_count),
            "keep_bytes": self._size > _limit(limits.keep_bytes),
            "keep_age": time.time() - oldest.written_at > _limit(limits.keep_age),
            "keep_free": limits.keep_free is not None and self._free < limits.keep_free,
        }
        name = next((name for name, is_exceeded in exceeded.items() if is_exceeded), None)
        return None if name is None else f"{name}={getattr(limits, name):.0f}"

    @property
    def _free(self) -> float:
        """Bytes that are free, or will be soon: some file systems free them only with time."""
        now, first = self._place.free, self._free_at_first
        return math.inf if now is None or first is None else max(now, first + self._freed)

    def _is_in_use(self, dump: str) -> bool:
        return any(name.startswith(f".{dump}.") for name in self._in_use)

    def _remove(self, dump: _Dump, reason: str) -> Iterator[Removal]:
        for file, status in dump.files.items():
            path, size = self._place.path / file, _size_on_disk(status)
            try:
                if not self._is_still(file, status):
                    continue
                os.unlink(file, dir_fd=self._place.fd)
            except FileNotFoundError:  # another dump was faster
                continue
            except OSError as error:
                reraise_if_from_handler(error)
                yield Removal(path=path, size=size, reason=reason, error=str(error))
            else:
                self._freed += size
                yield Removal(path=path, size=size, reason=reason)

    def _is_still(self, file: str, status: os.stat_result) -> bool:
        """Whether that name has the same file as when it was looked at, unchanged."""
        now = os.stat(file, dir_fd=self._place.fd, follow_symlinks=False)
        return all(getattr(now, name) == getattr(status, name) for name in _IDENTITY)


def _size_on_disk(status: os.stat_result) -> int:
    return status.st_blocks * 512


def _limit(limit: float | None) -> float:
    return math.inf if limit is None else limit


def _is_bundle(codec: Codec, opened: BinaryIO, dump: str) -> bool:
    contents = read_contents(opened)
    return contents.top == dump and contents.codec is codec


def _is_core(opened: BinaryIO, _: str) -> bool:
    head = opened.read(4)
    return any(magic.startswith(head) for magic in _MAGICS)


def _is_manifest(opened: BinaryIO, dump: str) -> bool:
    return f'"name": {json.dumps(dump)},'.encode() in opened.read(_HEAD)


_KINDS: Final[Mapping[str, Callable[[BinaryIO, str], bool]]] = {
    **{f".{codec.extension}": partial(_is_bundle, codec) for codec in CODECS},
    ".core": _is_core,
    ".manifest.json": _is_manifest,
}
"""What is behind a dump's name, and what its contents are compared with."""


def _is_of_a_kind(extension: str) -> bool:
    """Whether it is one of the above, or that of one that has passed a filter."""
    return any(f"{extension}.".startswith(f"{kind}.") for kind in _KINDS)


def _is_what_it_says(opened: BinaryIO, status: os.stat_result, dump: str, file: str) -> bool:
    """Return whether the contents are those of such a file. Raises OSError and `IntegrityError`.

    What has passed filters, or comes from another collector, is known by its name and mode alone.
    """
    if check := _KINDS.get(file[len(dump) :]):
        return check(opened, dump)
    return not status.st_mode & 0o077

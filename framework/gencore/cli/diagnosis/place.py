"""Whether the directory of a dump will do: its room, who else may write to it, its file system."""

import os
import re
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from gencore._final_directory import OWN_DIRECTORIES
from gencore._quantities import show_size
from gencore.cli.diagnosis.row import Case, Row, State

__all__ = ["file_system", "room", "writers"]

_MOUNTS: Final = Path("/proc/self/mountinfo")
_POINT, _OPTIONS = 4, 5
"""The fields of a mount, see proc_pid_mountinfo(5)."""
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")
_NETWORK: Final = {"9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "nfs", "nfs4", "smb3"}
_KINDS: Final = {
    **dict.fromkeys(("tmpfs", "ramfs"), "dumps take memory here, and of a container its own"),
    **dict.fromkeys(_NETWORK, "a network: what killed dumps leave may stay for a week"),
    "overlay": "dumps end with the container: mount a volume to keep them",
}
"""What is to be known of a file system, by its type."""


@attrs.frozen
class _Mount:
    point: str
    options: str
    kind: str


def room(case: Case) -> Iterator[Row]:
    """Compare what is free with what a dump needs."""
    if case.directory is None:
        return
    place = str(case.directory)
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        yield Row("directory", "no", place, f"{place}: {error.strerror}")
        return
    yield Row("directory", "ok", place, place)
    yield Row("free_bytes", *_room(case, free))


def _room(case: Case, free: int) -> tuple[State, int, str]:
    found = case.prospect
    text = show_size(free)
    if found is None or found.usual_size is None or found.largest_size is None:
        return "ok", free, text
    usual, largest = map(show_size, (found.usual_size, found.largest_size))
    state: State = "ok" if free >= found.largest_size else "warning"
    return state, free, f"{text}; a dump usually needs {usual}, at most {largest}"


def writers(case: Case) -> Iterator[Row]:
    """Say who else may rename and remove what is there."""
    if case.directory is None:
        return
    try:
        mode = case.directory.stat().st_mode
    except OSError:
        return
    shown = f"{stat.S_IMODE(mode):04o}"
    remedy = f"chmod +t {shlex.quote(str(case.directory))}"
    if mode & stat.S_ISVTX or not mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield Row("directory_mode", "ok", shown, shown)
    elif mode & stat.S_IWOTH:
        own = OWN_DIRECTORIES.replace("*", str(os.geteuid()))
        text = f"{shown}: anyone may rename files, so dumps go into {own} inside"
        yield Row("directory_mode", "note", shown, text, remedy)
    else:
        text = f"{shown}: members of its group may rename and remove dumps"
        yield Row("directory_mode", "note", shown, text, remedy)


def file_system(case: Case) -> Iterator[Row]:
    """Name its type, and what follows from that."""
    mount = _mount_of(case.directory) if case.directory else None
    if mount is None:
        return
    text = [mount.kind]
    if said := _KINDS.get(mount.kind.removeprefix("fuse.")):
        text.append(said)
    if "noexec" in mount.options.split(","):
        text.append("noexec, which does not matter: nothing there is executed")
    yield Row("file_system", "note" if said else "ok", mount.kind, "; ".join(text))


def _mount_of(directory: Path) -> _Mount | None:
    """Return the mount that a directory is on: the last of the longest point above it."""
    try:
        real = directory.resolve()
        mounts = map(_parse, _MOUNTS.read_text(errors="surrogateescape").splitlines())
        above = [mount for mount in mounts if real.is_relative_to(mount.point)]
    except OSError:
        return None
    return max(reversed(above), key=lambda mount: len(mount.point), default=None)


def _parse(line: str) -> _Mount:
    fields, _, rest = line.partition(" - ")
    point, options = fields.split(" ")[_POINT : _OPTIONS + 1]
    plain = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), point)
    return _Mount(plain, options, rest.split(" ")[0])

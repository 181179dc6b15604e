"""Namespaces: shows this process a file system of some paths, read-only, and an empty network.

For kernels without Landlock. Needs the right to make a user namespace, which many containers and
some distributions do not give.
"""

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gencore._confinement.system_calls import call, system_call

__all__ = ["show_only"]

_NEW_MOUNTS, _NEW_IPC, _NEW_USER, _NEW_NETWORK = 0x20000, 0x8000000, 0x10000000, 0x40000000
_RECURSIVELY, _PRIVATE, _BIND = 0x4000, 0x40000, 0x1000
_DETACH: Final = 2
_MOUNT_SETATTR: Final = 442  # of all architectures
_HERE: Final = -100
_ALL_BELOW: Final = 0x8000
_READ_ONLY: Final = 0x1 | 0x2  # and no set-user-ID
_NO_EXECUTION: Final = 0x8
_STAGE: Final = "/usr"
"""Any directory: a new root is made on top of it, and becomes the root."""


def show_only(readable: Iterable[Path], executable: Iterable[Path]) -> None:
    """Make everything else disappear. Raises OSError if this is not permitted."""
    shown = _with_targets(readable, _READ_ONLY | _NO_EXECUTION)
    shown |= _with_targets(executable, _READ_ONLY)
    user, group = os.geteuid(), os.getegid()
    call("unshare", _NEW_USER | _NEW_MOUNTS | _NEW_NETWORK | _NEW_IPC)
    Path("/proc/self/setgroups").write_text("deny", "ascii")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1", "ascii")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1", "ascii")
    call("mount", None, b"/", None, _RECURSIVELY | _PRIVATE, None)
    call("mount", b"tmpfs", _STAGE.encode(), b"tmpfs", 0, None)
    os.mkdir(f"{_STAGE}/old")  # noqa: PTH102 - as the calls around it
    call("pivot_root", _STAGE.encode(), f"{_STAGE}/old".encode())
    os.chdir("/")
    for path, attributes in sorted(shown.items()):  # outer ones first
        _show(path, attributes)
    call("umount2", b"/old", _DETACH)
    os.rmdir("/old")  # noqa: PTH106
    _protect("/", _READ_ONLY, 0)


def _with_targets(paths: Iterable[Path], attributes: int) -> dict[Path, int]:
    """Return the paths that exist, and those that links among them lead to."""
    found = {path for path in paths if path.exists()}
    return dict.fromkeys(found | {path.resolve() for path in found}, attributes)


def _show(path: Path, attributes: int) -> None:
    if path.exists() or path.is_symlink():  # below one that is shown
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    source = Path(f"/old{path}")
    if source.is_symlink():
        path.symlink_to(source.readlink())
        return
    if source.is_dir():
        path.mkdir()
    else:
        path.touch()
    call("mount", os.fsencode(source), os.fsencode(path), None, _BIND | _RECURSIVELY, None)
    _protect(str(path), attributes, _ALL_BELOW)


def _protect(path: str, attributes: int, flags: int) -> None:
    change = struct.pack("QQQQ", attributes, 0, 0, 0)
    system_call(_MOUNT_SETATTR, _HERE, os.fsencode(path), flags, change, len(change))

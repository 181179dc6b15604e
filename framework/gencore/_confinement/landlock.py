"""Landlock: lets this process read some files, and reach no others, no network and no process.

Works without privileges and without another view of the file system, in containers too. Numbers
and their versions: the kernel's Documentation/userspace-api/landlock.rst and
include/uapi/linux/landlock.h.
"""

import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gencore._confinement.system_calls import call, system_call

__all__ = ["restrict_files"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # of all architectures
_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_SET_NO_NEW_PRIVS: Final = 38
_EXECUTE: Final = 1 << 0
_READ_DIRECTORY: Final = 1 << 3
_READ: Final = 1 << 2 | _READ_DIRECTORY
_USE_DEVICE: Final = 1 << 1 | 1 << 15
"""WRITE_FILE and IOCTL_DEV."""
_FILE_RIGHTS: Final = (13, 14, 15, 15, 16)
"""How many rights over files versions 1 to 5 know: REFER, TRUNCATE and IOCTL_DEV came later."""
_NO_TCP: Final = 0b11
"""Bind and connect, from version 4."""
_SCOPES: Final = 0b11
"""Abstract sockets and signals stay among the confined, from version 6."""
_WITH_TCP, _WITH_SCOPES = 4, 6


def restrict_files(readable: Iterable[Path], executable: Iterable[Path]) -> None:
    """Forbid every use of files but reading those below *readable*.

    Those below *executable* can be executed too, and devices among them written. What does not
    exist is left out. Raises OSError if this kernel cannot.
    """
    version = system_call(_CREATE_RULESET, None, 0, _ASK_VERSION)
    handled = (1 << _FILE_RIGHTS[min(version, len(_FILE_RIGHTS)) - 1]) - 1
    tcp = _NO_TCP if version >= _WITH_TCP else 0
    scopes = _SCOPES if version >= _WITH_SCOPES else 0
    attributes = struct.pack("QQQ", handled, tcp, scopes)  # an older kernel wants zeros at the end
    rules = system_call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in readable:
            _allow(rules, path, handled & _READ)
        for path in executable:
            _allow(rules, path, handled & (_READ | _EXECUTE | _USE_DEVICE))
        call("prctl", _SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        system_call(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISCHR(mode):
            rights &= ~_USE_DEVICE
        if not stat.S_ISDIR(mode):
            rights &= ~_READ_DIRECTORY
        system_call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)
    finally:
        os.close(fd)

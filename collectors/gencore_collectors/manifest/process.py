"""The section ``process``: identity, arguments without values, memory, limits."""

import os
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gencore import DumpInProgress
from gencore.target import Target
from gencore_collectors.manifest import security
from gencore_collectors.manifest.kernel_text import key_values, number, read
from gencore_collectors.manifest.status import rfc3339

__all__ = ["section"]

_LIMITS: Final = (
    "AS",
    "CORE",
    "CPU",
    "DATA",
    "FSIZE",
    "MEMLOCK",
    "NOFILE",
    "NPROC",
    "RSS",
    "STACK",
)
_REDACTED: Final = "[redacted]"
_OPTION: Final = re.compile(r"--[A-Za-z][A-Za-z0-9_-]*|-[A-Za-z0-9]")
_PYTHON: Final = re.compile(r"(?:^|/)python[0-9.]*$")
_FLAGS: Final = "-[bBdEiIOPqRsSuvx]*"
"""The interpreter's options of one letter without a value may be put together: -um."""
_MODULE: Final = re.compile(_FLAGS + "m")
_CODE: Final = re.compile(_FLAGS + "[cm]")
_STANDARD_INPUT: Final = "-"
_END_OF_OPTIONS: Final = "--"
_WITH_VALUE: Final = {"-X", "-W", "--check-hash-based-pycs"}
_START_TIME: Final = 19
"""Where /proc/self/stat has the start, counted from what stands behind the name; see proc(5)."""


def section(dump: DumpInProgress) -> dict[str, Any]:
    """Return it."""
    target = dump.request.target
    status = key_values(target.proc("status"))  # has the memory if the main thread has ended
    main = key_values(target.process_file("status"))
    argv = _argv(dump)
    shown = _names_only(argv, only_program=dump.request.content == "triage")
    return {
        "pid": target.pid,
        "vpid": [int(pid) for pid in status.get("NStgid", "").split()],
        "parent_pid": number(status.get("PPid")) if target.other else os.getppid(),
        "creation": {"time": _creation_time(target)},
        "state": main.get("State"),
        "title": main.get("Name"),
        "executable": _executable(dump),
        "argv": shown,
        "argv_redactions": sum(a != b for a, b in zip(shown, argv, strict=True)),
        "working_directory": _working_directory(target),
        **(_identity() if target.other is None else _identity_of(status)),
        "rss_bytes": _kib(status, "VmRSS"),
        "vms_bytes": _kib(status, "VmSize"),
        "swap_bytes": _kib(status, "VmSwap"),
        "threads": number(status.get("Threads")),
        "open_fds": _open_fds(target),
        "limits": _limits(target),
        "security": security.section(target, status),
    }


def _argv(dump: DumpInProgress) -> list[str]:
    """Return its arguments: what it says they are, or what the kernel has of them."""
    if dump.facts is not None and dump.facts.argv:
        return list(dump.facts.argv)
    text = read(dump.request.target.proc("cmdline"))
    return text.split("\0") if text else []


def _creation_time(target: Target) -> str | None:
    """Return when the process began. The kernel counts in ticks, mostly of 10 ms."""
    try:
        ticks = int(
            (read(target.process_file("stat")) or "").rpartition(")")[2].split()[_START_TIME]
        )
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (AttributeError, LookupError, OSError, ValueError):
        return None
    return rfc3339(datetime.fromtimestamp(time.time() - age, UTC))


def _executable(dump: DumpInProgress) -> dict[str, Any]:
    """Return the first of the mapped files, or else where the kernel says that it is."""
    first = dump.libraries[0] if dump.libraries else None
    path = first.path if first is not None else _executable_path(dump.request.target)
    return {
        "path": path,
        "name": os.path.basename(path),  # noqa: PTH119 - a string it is and stays
        "build_id": {"gnu": first.build_id if first is not None else None},
        "sha256": first.sha256 if first is not None else None,
    }


def _executable_path(target: Target) -> str:
    try:
        return os.readlink(target.proc("exe"))
    except OSError:
        return os.path.realpath(sys.executable) if target.other is None else ""


def _identity() -> dict[str, Any]:
    if os.name != "posix":
        return dict.fromkeys(("user", "real_user", "group", "real_group"))
    return {
        "user": {"id": os.geteuid()},
        "real_user": {"id": os.getuid()},
        "group": {"id": os.getegid()},
        "real_group": {"id": os.getgid()},
    }


def _identity_of(status: dict[str, str]) -> dict[str, Any]:
    """Read real and effective ids, see proc(5)."""
    rows = {
        kind: [int(number) for number in status.get(key, "").split()]
        for kind, key in (("user", "Uid"), ("group", "Gid"))
    }
    return {
        **{kind: {"id": ids[1]} if ids else None for kind, ids in rows.items()},
        **{f"real_{kind}": {"id": ids[0]} if ids else None for kind, ids in rows.items()},
    }


def _kib(status: dict[str, str], key: str) -> int | None:
    kibibytes = number(status.get(key))
    return None if kibibytes is None else kibibytes * 1024


def _open_fds(target: Target) -> int | None:
    try:
        number = len(os.listdir(target.proc("fd")))
    except OSError:
        return None
    return number - 1 if target.other is None else number  # the one that lists them


def _working_directory(target: Target) -> str | None:
    try:
        return str(Path.cwd()) if target.other is None else os.readlink(target.proc("cwd"))
    except OSError:
        return None


def _names_only(argv: list[str], *, only_program: bool) -> list[str]:
    """Keep what cannot be a secret: the program, the names of options, the script or module."""
    if only_program:
        return argv[:1] + [_REDACTED] * len(argv[1:])
    shown = [*argv[:1], *map(_option_name, argv[1:])]
    index = _script(argv)
    if index < len(argv):
        shown[index] = argv[index]
    return shown


def _option_name(argument: str) -> str:
    """Return an option without its value, which may follow a single letter without a space."""
    found = _OPTION.match(argument)
    return found[0] if found else _REDACTED


def _script(argv: list[str]) -> int:
    """Return where the script or module is, behind the interpreter's own options."""
    index, nowhere = 1, len(argv)
    is_python = bool(argv and _PYTHON.search(argv[0]))
    while index < len(argv) and argv[index].startswith("-"):
        option = argv[index]
        if is_python and _MODULE.fullmatch(option):
            return index + 1
        if option == _STANDARD_INPUT or _CODE.match(option):
            return nowhere
        index += 2 if option in _WITH_VALUE else 1
        if option == _END_OF_OPTIONS:
            break
    is_script = index < len(argv) and (is_python or argv[index].endswith(".py"))
    return index if is_script and "://" not in argv[index] else nowhere


def _limits(target: Target) -> dict[str, dict[str, int | None] | None]:
    return {name.lower(): _limit(target, name) for name in _LIMITS}


def _limit(target: Target, name: str) -> dict[str, int | None] | None:
    """Return one limit, in which None is unlimited; None where the platform lacks it."""
    try:
        import resource

        kind = getattr(resource, f"RLIMIT_{name}")
        other = target.visible
        pair = resource.getrlimit(kind) if other is None else resource.prlimit(other, kind)
    except (ImportError, AttributeError, OSError, ValueError):
        return None
    soft, hard = (None if value == resource.RLIM_INFINITY else value for value in pair)
    return {"soft": soft, "hard": hard}

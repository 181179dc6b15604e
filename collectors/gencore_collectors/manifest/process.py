"""The section ``process``: identity, arguments without values, memory, limits."""

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gencore import DumpInProgress
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
_START_TIME: Final = 19
"""Where /proc/self/stat has the start, counted from what stands behind the name; see proc(5)."""


def section(dump: DumpInProgress) -> dict[str, Any]:
    """Return it."""
    status = key_values("/proc/thread-self/status")  # has the memory if the main thread has ended
    main = key_values("/proc/self/status")
    only_program = dump.request.content == "triage"
    argv = _names_only(sys.orig_argv, only_program=only_program)
    return {
        "pid": os.getpid(),
        "vpid": [int(pid) for pid in status.get("NStgid", "").split()],
        "parent_pid": os.getppid() if hasattr(os, "getppid") else None,
        "creation": {"time": _creation_time()},
        "state": main.get("State"),
        "title": main.get("Name"),
        "executable": _executable(dump),
        "argv": argv,
        "argv_redactions": sum(a != b for a, b in zip(argv, sys.orig_argv, strict=True)),
        "working_directory": _working_directory(),
        **_identity(),
        "rss_bytes": _kib(status, "VmRSS"),
        "vms_bytes": _kib(status, "VmSize"),
        "swap_bytes": _kib(status, "VmSwap"),
        "threads": number(status.get("Threads")),
        "open_fds": _open_fds(),
        "limits": _limits(),
        "security": security.section(status),
    }


def _creation_time() -> str | None:
    """Return when the process began. The kernel counts in ticks, mostly of 10 ms."""
    try:
        ticks = int((read("/proc/self/stat") or "").rpartition(")")[2].split()[_START_TIME])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (AttributeError, LookupError, OSError, ValueError):
        return None
    return rfc3339(datetime.fromtimestamp(time.time() - age, UTC))


def _executable(dump: DumpInProgress) -> dict[str, Any]:
    """Return the first of the mapped files, or the interpreter's own word where none is known."""
    first = dump.libraries[0] if dump.libraries else None
    path = first.path if first is not None else os.path.realpath(sys.executable)
    return {
        "path": path,
        "name": os.path.basename(path),  # noqa: PTH119 - a string it is and stays
        "build_id": {"gnu": first.build_id if first is not None else None},
        "sha256": first.sha256 if first is not None else None,
    }


def _identity() -> dict[str, Any]:
    if os.name != "posix":
        return dict.fromkeys(("user", "real_user", "group", "real_group"))
    return {
        "user": {"id": os.geteuid()},
        "real_user": {"id": os.getuid()},
        "group": {"id": os.getegid()},
        "real_group": {"id": os.getgid()},
    }


def _kib(status: dict[str, str], key: str) -> int | None:
    kibibytes = number(status.get(key))
    return None if kibibytes is None else kibibytes * 1024


def _open_fds() -> int | None:
    try:
        return len(os.listdir("/proc/thread-self/fd")) - 1  # the one that lists them
    except OSError:
        return None


def _working_directory() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:
        return None


def _names_only(argv: list[str], *, only_program: bool) -> list[str]:
    """Keep what cannot be a secret: the program, the names of options, the script or module."""
    if only_program:
        return argv[:1] + [_REDACTED] * len(argv[1:])
    kept = [argument.partition("=")[0] if argument[:1] == "-" else None for argument in argv]
    kept[:1] = argv[:1]
    for index, argument in enumerate(argv[1:], 1):
        if argument[:1] != "-" and (argv[index - 1] == "-m" or argument.endswith(".py")):
            kept[index] = argument
            break
    return [argument if argument is not None else _REDACTED for argument in kept]


def _limits() -> dict[str, dict[str, int | None] | None]:
    return {name.lower(): _limit(name) for name in _LIMITS}


def _limit(name: str) -> dict[str, int | None] | None:
    """Return one limit, in which None is unlimited; None where the platform lacks it."""
    try:
        import resource

        pair = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
    except (ImportError, AttributeError, OSError, ValueError):
        return None
    soft, hard = (None if value == resource.RLIM_INFINITY else value for value in pair)
    return {"soft": soft, "hard": hard}

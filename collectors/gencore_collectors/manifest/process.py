"""The section ``process``: identity, arguments without values, limits, security."""

import os
import sys
from pathlib import Path
from typing import Any, Final

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


def section() -> dict[str, Any]:
    """Return it."""
    status = _status()
    return {
        "pid": os.getpid(),
        "vpid": [int(pid) for pid in status.get("NSpid", "").split()],
        "parent_pid": os.getppid() if hasattr(os, "getppid") else None,
        "executable": {"path": os.path.realpath(sys.executable)},
        "argv": _names_only(sys.orig_argv),
        "working_directory": _working_directory(),
        "user": {"id": os.geteuid(), "group": os.getegid()} if os.name == "posix" else None,
        "rss_bytes": _kib(status, "VmRSS"),
        "vms_bytes": _kib(status, "VmSize"),
        "swap_bytes": _kib(status, "VmSwap"),
        "threads": int(status["Threads"]) if "Threads" in status else None,
        "limits": _limits(),
        "security": {
            "no_new_privs": status.get("NoNewPrivs"),
            "seccomp": status.get("Seccomp"),
            "cap_eff": status.get("CapEff"),
        },
    }


def _status() -> dict[str, str]:
    """Return /proc/self/status, see proc(5), or nothing where there is none."""
    try:
        lines = Path("/proc/self/status").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _kib(status: dict[str, str], key: str) -> int | None:
    return int(status[key].split()[0]) * 1024 if key in status else None


def _working_directory() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:
        return None


def _names_only(argv: list[str]) -> list[str]:
    """Keep what cannot be a secret: the program, the names of options, the script or module."""
    kept = [argument.partition("=")[0] if argument[:1] == "-" else None for argument in argv]
    kept[:1] = argv[:1]
    for index, argument in enumerate(argv[1:], 1):
        if argument[:1] != "-" and (argv[index - 1] == "-m" or argument.endswith(".py")):
            kept[index] = argument
            break
    return [argument if argument is not None else _REDACTED for argument in kept]


def _limits() -> dict[str, dict[str, int | None]]:
    try:
        import resource
    except ImportError:
        return {}
    limits = {}
    for name in _LIMITS:
        number = getattr(resource, f"RLIMIT_{name}", None)
        if number is not None:
            soft, hard = (None if v < 0 else v for v in resource.getrlimit(number))
            limits[name.lower()] = {"soft": soft, "hard": hard}
    return limits

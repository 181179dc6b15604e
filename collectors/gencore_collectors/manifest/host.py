"""The sections ``host``, ``os`` and ``kernel``: where the process ran."""

import os
import platform
import sys
from pathlib import Path
from typing import Any, Final

__all__ = ["kernel", "operating_system", "section"]

_SYSCTLS: Final = {
    "core_pattern": "kernel/core_pattern",
    "core_uses_pid": "kernel/core_uses_pid",
    "core_pipe_limit": "kernel/core_pipe_limit",
    "suid_dumpable": "fs/suid_dumpable",
    "yama_ptrace_scope": "kernel/yama/ptrace_scope",
}


def section() -> dict[str, Any]:
    """Return ``host``."""
    return {
        "name": platform.node(),
        "arch": platform.machine(),
        "cpus": os.cpu_count(),
        "page_size": os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None,
        "byte_order": sys.byteorder,
    }


def operating_system() -> dict[str, Any]:
    """Return ``os``."""
    library, version = platform.libc_ver()
    return {
        "type": platform.system(),
        "name": _release().get("PRETTY_NAME"),
        "kernel": platform.release(),
        "libc": f"{library} {version}".strip() or None,
    }


def kernel() -> dict[str, str | None]:
    """Return ``kernel``: the settings that decide about cores; null where there is none."""
    return {name: _sysctl(path) for name, path in _SYSCTLS.items()}


def _release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _sysctl(path: str) -> str | None:
    try:
        return (Path("/proc/sys") / path).read_text(errors="replace").strip()
    except OSError:
        return None

"""The sections ``host``, ``os`` and ``kernel``: where the process ran."""

import hashlib
import os
import platform
import sys
from typing import Any, Final

from gencore_collectors.manifest.kernel_text import read

__all__ = ["kernel", "operating_system", "section"]

_ID_SALT: Final = "gencore.host.id:"
"""machine-id(5) asks that the id is not shown; with a salt of our own the hash joins dumps of one
machine, and nothing else."""
_SYSCTLS: Final = {
    "core_pattern": "kernel/core_pattern",
    "core_uses_pid": "kernel/core_uses_pid",
    "core_pipe_limit": "kernel/core_pipe_limit",
    "suid_dumpable": "fs/suid_dumpable",
    "yama_ptrace_scope": "kernel/yama/ptrace_scope",
}


def section() -> dict[str, Any]:
    """Return ``host``."""
    page_size, pages = _sysconf("SC_PAGE_SIZE"), _sysconf("SC_PHYS_PAGES")
    return {
        "name": platform.node(),
        "id_hash": _id_hash(),
        "arch": platform.machine(),
        "cpus": os.cpu_count(),
        "memory_total_bytes": page_size * pages if page_size and pages else None,
        "boot_id": read("/proc/sys/kernel/random/boot_id"),
        "page_size": page_size,
        "byte_order": sys.byteorder,
    }


def operating_system() -> dict[str, Any]:
    """Return ``os``."""
    release = _release()
    return {
        "type": platform.system(),
        "name": release.get("NAME"),
        "version": release.get("VERSION_ID"),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
    }


def kernel() -> dict[str, str | None]:
    """Return ``kernel``: the settings that decide about cores; null where there is none."""
    return {name: read(f"/proc/sys/{path}") for name, path in _SYSCTLS.items()}


def _id_hash() -> str | None:
    machine_id = read("/etc/machine-id")
    if not machine_id:
        return None
    return hashlib.sha256((_ID_SALT + machine_id).encode()).hexdigest()


def _sysconf(name: str) -> int | None:
    try:
        return os.sysconf(name)
    except (AttributeError, OSError, ValueError):
        return None


def _release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except (OSError, ValueError):
        return {}

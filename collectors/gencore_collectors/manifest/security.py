"""The part ``process.security``: what the kernel lets the process and its observers do."""

from typing import Any, Final

from gencore_collectors.manifest.kernel_text import number, read

__all__ = ["section"]

_PR_GET_DUMPABLE: Final = 3


def section(status: dict[str, str]) -> dict[str, Any]:
    """Return it. *status* is /proc/thread-self/status."""
    return {
        "dumpable": _dumpable(),
        "no_new_privs": status["NoNewPrivs"] != "0" if "NoNewPrivs" in status else None,
        "seccomp": number(status.get("Seccomp")),
        "cap_eff": status.get("CapEff"),
        "lsm": read("/proc/self/attr/current") or None,
        "coredump_filter": read("/proc/self/coredump_filter"),
    }


def _dumpable() -> int | None:
    """Ask prctl(2). The owner of /proc/self tells it too, but not to root."""
    try:
        import ctypes

        answer = int(ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE))
    except (ImportError, AttributeError, OSError, TypeError):
        return None
    return answer if answer >= 0 else None

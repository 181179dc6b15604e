"""The part ``process.security``: what the kernel lets the process and its observers do."""

from typing import Any, Final

from gencore.target import Target
from gencore_collectors.manifest.kernel_text import number, read

__all__ = ["section"]

_PR_GET_DUMPABLE: Final = 3


def section(target: Target, status: dict[str, str]) -> dict[str, Any]:
    """Return it. *status* is the process's file of that name."""
    return {
        "dumpable": _dumpable(target),
        "no_new_privs": status["NoNewPrivs"] != "0" if "NoNewPrivs" in status else None,
        "seccomp": number(status.get("Seccomp")),
        "cap_eff": status.get("CapEff"),
        "lsm": read(target.process_file("attr/current")) or None,
        "coredump_filter": read(target.process_file("coredump_filter")),
    }


def _dumpable(target: Target) -> int | None:
    """Ask prctl(2). The owner of /proc/self tells it too, but not to root.

    No other process can be asked; but one that has a recorder is dumpable, or it would have none.
    """
    if target.other is not None:
        return None if target.handover is None else 1
    try:
        import ctypes

        answer = int(ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE))
    except (ImportError, AttributeError, OSError, TypeError):
        return None
    return answer if answer >= 0 else None

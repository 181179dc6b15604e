"""Why the kernel considers this process "not dumpable", see PR_SET_DUMPABLE in prctl(2)."""

import os
from typing import Final

from gencore import Reason
from gencore_backends.linux import _native

__all__ = ["undumpable_reasons"]

_AT_IDS: Final = {"uid": 11, "euid": 12, "gid": 13, "egid": 14}
"""Keys of getauxval(3) for the ids with which the program started."""
_AT_SECURE: Final = 23
_ALLOW: Final = "pass allow_undumpable=True"


def undumpable_reasons() -> list[Reason]:
    """Return why this process is not dumpable; nothing if it is."""
    dumpable = _native.dumpable()
    if dumpable == 1:
        return []
    cause, remedy = _cause()
    text = f"the process is not dumpable ({dumpable}; see prctl(2)): {cause}"
    return [Reason(text, f"{_ALLOW}, or {remedy}")]


def _cause() -> tuple[str, str]:
    """Return the cause and another remedy. The kernel records only the effect."""
    if _native.auxiliary_value(_AT_SECURE):
        return (
            "its program is set-user-ID or set-group-ID, or has file capabilities",
            "start it without them",
        )
    if changed := _changed_ids():
        return (
            f"it changed its user or group after it started ({changed})",
            "start it as that user",
        )
    if not os.access("/proc/thread-self/exe", os.R_OK, effective_ids=True):
        return "its user cannot read its executable", "make the executable readable: chmod +r"
    return (
        "it set PR_SET_DUMPABLE itself, or changed its user or capabilities and back",
        "start it without doing so",
    )


def _changed_ids() -> str:
    now = dict(zip(_AT_IDS, (*os.getresuid()[:2], *os.getresgid()[:2]), strict=True))
    before = {name: _native.auxiliary_value(row) for name, row in _AT_IDS.items()}
    return ", ".join(
        f"{name} {before[name]} to {now[name]}" for name in _AT_IDS if before[name] != now[name]
    )

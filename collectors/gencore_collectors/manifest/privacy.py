"""The section ``privacy``: how to treat the dump, and what was left out of the manifest."""

from typing import Any, Final

__all__ = ["section"]

_WITH_MEMORY: Final = "This dump holds the memory of a process: passwords, keys, personal data."
_WITHOUT_MEMORY: Final = "This dump holds no memory, but names of files, functions and machines."
_RULES: Final = (
    "process.argv: only the program, names of options, and the script or module",
    "process.open_fds: their number only",
    "threads.python.frames: no values of variables",
    "environment: values of listed variables only, no names of others",
    "host.id_hash: a salted hash",
)


def section(*, contains_memory: bool) -> dict[str, Any]:
    """Return it."""
    return {
        "contains_memory": contains_memory,
        "classification": "restricted" if contains_memory else "internal",
        "notice": _WITH_MEMORY if contains_memory else _WITHOUT_MEMORY,
        "redaction_rules": list(_RULES),
        "retention_until": None,
    }

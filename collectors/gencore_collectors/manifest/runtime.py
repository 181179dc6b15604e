"""The section ``runtime``: the interpreter, as it describes itself."""

from typing import Any

from gencore import DumpInProgress

__all__ = ["section"]


def section(dump: DumpInProgress) -> dict[str, Any] | None:
    """Return it, or None if the process has no interpreter, or could not be asked."""
    return dict(dump.facts.runtime) if dump.facts is not None and dump.facts.runtime else None

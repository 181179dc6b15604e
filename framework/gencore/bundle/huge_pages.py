"""Says in one line what was collapsed into huge pages before the pause, as a manifest has it."""

from collections.abc import Mapping
from typing import Any

from gencore._quantities import show_size
from gencore.bundle.manifest import ManifestValue

__all__ = ["huge_pages_line"]


def huge_pages_line(manifest: Mapping[str, Any]) -> str | None:
    """Return it; None if nobody has asked for that. What is in it may be hostile."""
    found = ManifestValue(manifest)["status"]["huge_pages"]
    if not found.known:
        return None
    small, stopped = _size(found["small"]), found["stopped"].text
    line = f"{_size(found['collapsed'])} collapsed, {small} left in small pages"
    return line if stopped is None else f"{line}; stopped: {stopped}"


def _size(value: ManifestValue) -> str:
    return "unknown" if value.amount is None else show_size(int(value.amount))

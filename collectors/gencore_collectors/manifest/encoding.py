"""Writes the manifest as JSON that is plain ASCII, in a fixed order and of limited size."""

import json
from typing import Any, Final

__all__ = ["MAX_SIZE", "encode"]

MAX_SIZE: Final = 16 << 20
"""Bytes. A reader may refuse more."""
_KEPT_FRAMES: Final = 8


def encode(manifest: dict[str, Any], limit: int = MAX_SIZE) -> bytes:
    """Return the JSON. What is too long is shortened in place; ``status.shortened`` says so."""
    data = _json(manifest)
    while len(data) > limit and _shorten(manifest):
        data = _json(manifest)
    return data


def _json(value: Any) -> bytes:
    """Escape all but printable ASCII: no text in it can move a terminal's cursor or end a line."""
    return json.dumps(value, indent=1, ensure_ascii=True).encode() + b"\n"


def _shorten(manifest: dict[str, Any]) -> bool:
    """Halve the longest list. Return False if all are empty."""
    status = manifest["status"]
    lists: dict[str, list[Any]] = {
        **{name: manifest[name] for name in ("threads", "libraries", "memory", "files")},
        **{f"status.{name}": status[name] for name in ("failed", "skipped", "warnings", "stages")},
        "process.argv": manifest["process"]["argv"],
    }
    longest = max(lists, key=lambda name: len(_json(lists[name])))
    rows = lists[longest]
    if longest != "threads" or not _shorten_stacks(rows):
        del rows[len(rows) // 2 :]
    if longest not in status["shortened"]:
        status["shortened"].append(longest)
    return any(lists.values())


def _shorten_stacks(rows: list[dict[str, Any]]) -> bool:
    """Halve the stacks that are not short yet: some frames of all threads say more than half."""
    stacks = [row["python"] for row in rows if row["python"] is not None]
    long = [stack for stack in stacks if len(stack["frames"]) > _KEPT_FRAMES]
    for stack in long:
        del stack["frames"][len(stack["frames"]) // 2 :]
        stack["frames_truncated"] = True
    return bool(long)

"""Chooses the content of a dump that fits into the memory that is left."""

from typing import Final

from gencore._runtime.platform_agent import agent
from gencore._settings.options import Options
from gencore.errors import UsageError
from gencore.request import Content
from gencore.target import Target

__all__ = ["content_for", "fitted"]

_MIB: Final = 1 << 20
_TOO_SHORT: Final = 8
"""Less than this part of what a clone may copy is free: only its stacks should be written."""


def fitted(options: Options, target: Target, least: Content) -> Options:
    """Return the options with the content that fits, *least* or more, and a reason that says so.

    A clone copies what its process rewrites as long as it lives; the less is written, the shorter
    it lives. Raises `UsageError` if the memory of the process is not seen from here.
    """
    if target.hidden is not None:
        raise UsageError(
            f"--fit is unsupported: the memory of process {target.pid} is not seen from here",
            remedy="leave --fit away, or pass --content private",
        )
    room = agent().room_for_clone(target.pid)
    wanted = options.get("content", "full")
    if room is None or wanted != "full":
        return options
    content, why = content_for(*room, least)
    if content == wanted:
        return options
    reason = "; ".join(filter(None, [options.get("reason"), why]))
    return {**options, "content": content, "reason": reason}


def content_for(free: int, copied: int, least: Content) -> tuple[Content, str]:
    """Return the content for a clone that may copy so many bytes, and why."""
    if free >= copied:
        return "full", ""
    content = least if free * _TOO_SHORT < copied else "private"
    why = f"content {content}: {free // _MIB} MiB are free for {copied // _MIB} MiB of a clone"
    return content, why

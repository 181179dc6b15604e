"""Annotations that a process keeps about itself, for the manifests of later dumps."""

from collections.abc import Mapping
from typing import Any, Final

from gencore._runtime import standing
from gencore.errors import UsageError

__all__ = ["MAX_ANNOTATIONS", "MAX_VALUE_SIZE", "annotate"]

MAX_ANNOTATIONS: Final = 64
"""Annotations in one manifest."""
MAX_VALUE_SIZE: Final = 1024
"""Bytes of one value, and of one key, as UTF-8."""


def annotate(**annotations: str | None) -> None:
    """Set annotations for every later dump, and remove those that are None.

    Cheap, and safe from any thread: call it whenever the process turns to other work. Annotations
    given to a single dump take precedence. Raises `UsageError`, and changes nothing, if there
    would be more than 64 or one is longer than 1,024 bytes.
    """
    changed = {**standing.annotations, **annotations}
    check_annotations({key: value for key, value in changed.items() if value is not None})
    for key, value in annotations.items():
        if value is None:
            standing.annotations.pop(key, None)
        else:
            standing.annotations[key] = value
    standing.tell_follower()


def check_annotations(annotations: Mapping[Any, Any]) -> None:
    """Raise `UsageError` unless they are strings that fit into a manifest."""
    if len(annotations) > MAX_ANNOTATIONS:
        raise UsageError(f"{len(annotations)} annotations; the limit is {MAX_ANNOTATIONS}")
    for key, text in annotations.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise UsageError(f"annotation {key!r}={text!r} is not a string")
        if max(len(part.encode(errors="replace")) for part in (key, text)) > MAX_VALUE_SIZE:
            raise UsageError(f"annotation {key[:80]!r} is longer than {MAX_VALUE_SIZE:,} bytes")


def with_standing(own: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """Return a dump's *own* annotations, and as many of the process's *others* as fit."""
    added = [(key, value) for key, value in others.items() if key not in own]
    return {**own, **dict(added[: MAX_ANNOTATIONS - len(own)])}

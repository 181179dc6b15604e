"""Proposes the name that was probably meant."""

from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(name: object, known: Iterable[str]) -> str | None:
    """Return the remedy for a name that is not *known*: the nearest that is, if any is near."""
    from difflib import get_close_matches  # only who has made a mistake pays for it

    close = get_close_matches(str(name), list(known), 1)
    return f"did you mean {close[0]!r}?" if close else None

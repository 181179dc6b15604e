"""Checks what plug-ins return, as far as it is the same for all of their methods."""

from gencore._runtime.foreign_errors import type_name

__all__ = ["refuse_awaitable", "require_none", "unexpected"]


def require_none(returned: object, method: str) -> None:
    """Raise `TypeError` unless *returned* is None."""
    if returned is not None:
        raise unexpected(returned, method, "None")


def unexpected(returned: object, method: str, expected: str) -> TypeError:
    """Return the error that *method* has returned something else than *expected*."""
    _close(returned)
    return TypeError(f"{method}() returned {type_name(returned)}, expected {expected}")


def refuse_awaitable(returned: object) -> None:
    """Raise `TypeError` for what an ``async def`` returns, which has done nothing yet."""
    if hasattr(type(returned), "__await__"):
        _close(returned)
        raise TypeError(f"it returned {type_name(returned)}, which nobody awaits")


def _close(returned: object) -> None:
    """Close a coroutine, or Python warns that nobody has awaited it."""
    if hasattr(type(returned), "__await__"):
        close = getattr(returned, "close", lambda: None)
        close()

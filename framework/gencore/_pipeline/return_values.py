"""Checks what plug-ins return from the methods that return nothing."""

__all__ = ["require_none"]


def require_none(returned: object, method: str) -> None:
    """Raise `TypeError` unless *returned* is None; a coroutine that nobody awaits is closed."""
    if returned is not None:
        close = getattr(returned, "close", lambda: None)
        close()
        raise TypeError(f"{method}() returned {type(returned).__name__}, expected None")

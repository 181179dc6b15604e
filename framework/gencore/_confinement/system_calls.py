"""System calls that Python does not have, with their errors as OSError."""

import ctypes
import os
from functools import cache
from typing import Any

__all__ = ["call", "system_call"]


def call(name: str, *arguments: int | bytes | None) -> int:
    """Return what the C library's function *name* returns. Raises OSError."""
    result: int = getattr(_libc(), name)(*map(_word, arguments))
    return _checked(result)


def system_call(number: int, *arguments: int | bytes | None) -> int:
    """Return the result of a system call that the C library may lack. Raises OSError."""
    return _checked(_libc().syscall(ctypes.c_long(number), *map(_word, arguments)))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _word(value: int | bytes | None) -> Any:
    """Pass a number as a whole register: a call without a prototype would leave half undefined."""
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result

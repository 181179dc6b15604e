"""Notices the interpreter's end.

Imported with the package, so that its place among the functions of atexit is not that of the first
dump, which may be made by one of them.
"""

import atexit
from _thread import get_native_id  # noqa: PLC2701 - gevent changes threading's
from collections.abc import Callable
from typing import Final

__all__ = ["ended_by", "last_functions"]

last_functions: "Final[list[Callable[[], object]]]" = []
"""Called at the end, in order."""
ended_by: Final[list[int]] = []
"""The thread that called them, as `threading.get_native_id`; empty before."""


@atexit.register
def _end() -> None:
    ended_by.append(get_native_id())
    for function in last_functions:
        function()

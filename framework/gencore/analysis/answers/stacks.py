"""The stack of every thread in a core, with the variables if they are asked for, and deadlocks."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from gencore.analysis import (
    AbsentMemory,
    Frame,
    Python,
    Thread,
    Values,
    read_stacks,
    read_waits,
)
from gencore.analysis.answers.locks import cycles_of
from gencore.analysis.threads.system_calls import name_of
from gencore.analysis.threads.thread_names import thread_names
from gencore.analysis.threads.variables import variables_of
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError

_LOCALS: Final = "locals"
_MOST_VARIABLES: Final = 20_000
"""That are shown of all frames together, innermost frames first."""
_LONGEST_VALUE: Final = 200


def answer(python: Python, core: CoreFile, wanted: str = "") -> dict[str, Any]:
    """Return the threads, and the deadlocks as lists of waits, None if that is unknown.

    *wanted* is ``locals``, or empty.
    """
    variables = _Variables(python) if wanted == _LOCALS else None
    threads = read_stacks(python, core, thread_names(python))
    return {
        "threads": [_row(thread, variables) for thread in threads],
        "deadlocks": _deadlocks(python, core),
    }


def _deadlocks(python: Python, core: CoreFile) -> list[list[dict[str, Any]]] | None:
    try:
        return cycles_of(read_waits(python, core))
    except IntegrityError:
        return None


def _row(thread: Thread, variables: "_Variables | None") -> dict[str, Any]:
    return {
        "tid": thread.tid,
        "name": thread.name,
        "interpreter": thread.interpreter,
        "status": _status(thread),
        "system_call": name_of(thread.system_call),
        "incomplete": thread.incomplete,
        "frames": [_frame(frame, variables) for frame in thread.frames][::-1],
    }


def _status(thread: Thread) -> str | None:
    if thread.holds_gil:
        return "Has the GIL" + ", collects garbage" * thread.collects_garbage
    return thread.state and thread.state[0].upper() + thread.state[1:]


def _frame(frame: Frame, variables: "_Variables | None") -> dict[str, Any]:
    return {
        "function": frame.function,
        "file": frame.file,
        "line": frame.line,
        "locals": None if variables is None else variables.of(frame),
    }


class _Variables:
    """Shows the variables of frames, until there are too many."""

    def __init__(self, python: Python) -> None:
        self._python, self._values = python, Values(python)
        self._left = _MOST_VARIABLES

    def of(self, frame: Frame) -> list[dict[str, str]] | None:
        """Return None if there were too many before."""
        return list(self._rows(frame)) if self._left else None

    def _rows(self, frame: Frame) -> Iterator[dict[str, str]]:
        with suppress(AbsentMemory):
            for variable in variables_of(self._python, self._values, frame.address):
                if not self._left:
                    return
                self._left -= 1
                yield {
                    "name": variable.name,
                    "kind": variable.kind,
                    "value": self._values.show(variable.address, _LONGEST_VALUE),
                    "address": f"{variable.address:#x}",
                }

"""Confines this process for good, so that a program can take its place."""

import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple, NoReturn, Self

from gencore._confinement.call_filter import refuse_calls
from gencore._confinement.capabilities import drop_capabilities
from gencore._confinement.landlock import restrict_files
from gencore._confinement.namespaces import show_only
from gencore._confinement.places import (
    environment_of_readers,
    places_of_program,
    places_of_python,
)
from gencore._runtime.os_thread import settle, wait_for_all

__all__ = ["Confinement", "confine", "execute_confined"]


class Confinement(NamedTuple):
    """What a program may use; a limit of None is none."""

    readable: tuple[str, ...]
    """Where it may read: files, or directories with all that is below. It starts in the first."""
    executable: tuple[str, ...]
    """Where it may also execute: itself, its interpreter, their libraries; and devices."""
    cpu_seconds: int | None = None
    memory: int | None = None
    """Bytes of address space."""
    output: int | None = None
    """Bytes of each file that it was given to write to."""

    @classmethod
    def of(
        cls,
        program: str,
        readable: Iterable[Path],
        libraries: Iterable[Path] = (),
        **limits: int,
    ) -> Self:
        """Return that of a program which is installed here, or of this Python interpreter.

        *libraries* are what it needs beside. The user's home is none, though they may lie in it.
        """
        home = Path("~").expanduser()
        needed = [place for place in libraries if not home.is_relative_to(place)]
        needed += places_of_program(program)
        needed += places_of_python() if program == sys.executable else ()
        return cls(tuple(map(str, readable)), tuple(map(str, needed)), **limits)


_LIMITS: Final = {
    "cpu_seconds": resource.RLIMIT_CPU,
    "memory": resource.RLIMIT_AS,
    "output": resource.RLIMIT_FSIZE,
}
_GRACE: Final = 5
"""Seconds of CPU time that a program has to end itself, before it is killed without a word."""
_THREADS_LIMIT: Final = 5.0
"""Seconds for threads of ours that have nothing left to do, but have not ended yet."""
_IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)


def execute_confined(
    command: list[str],
    confinement: Confinement,
    report: Callable[[str], object],
    prepare: Callable[[], object] = lambda: None,
) -> NoReturn:
    """Become the program. Raises OSError if it cannot be executed.

    *report* is called with a line for each part of the confinement that is impossible here; the
    others hold all the same. *prepare* is called confined: what it opens, the program may have.
    """
    program = shutil.which(command[0]) or command[0]
    environment = environment_of_readers(os.environ)
    for gap in confine(confinement):
        report(f"{command[0]} runs without a part of its confinement: {gap}")
    prepare()
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    os.execve(program, command, environment)  # noqa: S606 - no shell


def confine(confinement: Confinement) -> list[str]:
    """Confine this process and its children; return what is impossible here."""
    _lift_own_limits()
    if sys.platform != "linux":
        return [f"all of it (unsupported on {sys.platform})"]
    _limit(confinement)
    wait_for_all(_THREADS_LIMIT)  # unshare(2) refuses a namespace of users to several threads
    settle()
    readable, executable = (list(map(Path, paths)) for paths in confinement[:2])
    layers: tuple[tuple[str, dict[str, Callable[[], None]]], ...] = (
        (
            "files",
            {
                "Landlock": lambda: restrict_files(readable, executable),
                "namespaces": lambda: show_only(readable, executable),
            },
        ),
        ("capabilities", {"capset": drop_capabilities}),
        ("sockets and other system calls", {"seccomp": refuse_calls}),
    )
    gaps = [gap for what, ways in layers if (gap := _first_possible(what, ways)) is not None]
    os.chdir(readable[0] if readable[0].is_dir() else "/")
    return gaps


def _first_possible(what: str, ways: dict[str, Callable[[], None]]) -> str | None:
    """Take the first way that works; return why none does."""
    reasons = []
    for name, take in ways.items():
        try:
            take()
        except OSError as error:
            reasons.append(f"{name}: {error.strerror}")
        else:
            return None
    return f"{what} ({'; '.join(reasons)})"


def _lift_own_limits() -> None:
    """End those that the command had for its own reading; the program would inherit them."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.setitimer(signal.ITIMER_PROF, 0)
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _limit(confinement: Confinement) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, kind in _LIMITS.items():
        wanted = getattr(confinement, name)
        _, most = resource.getrlimit(kind)
        if wanted is not None and (most == resource.RLIM_INFINITY or wanted < most):
            most = wanted + _GRACE if kind == resource.RLIMIT_CPU else wanted
            resource.setrlimit(kind, (wanted, most))

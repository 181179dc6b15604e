"""What a command may spend on reading a file that somebody else made: CPU time, time, memory."""

import functools
import os
import resource
import select
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

import attrs
import click

from gencore._escaping import quote_path
from gencore.bundle.extraction import TooLarge
from gencore.errors import IntegrityError, TimedOut

__all__ = [
    "TO_SUMMARIZE",
    "Budget",
    "limited",
    "limits_apply",
    "max_size_of",
    "max_stream",
    "no_limits_option",
    "within",
]

_MIB: Final = 1 << 20
_UNPACKED: Final = 4 << 30
_EXPANSION: Final = 64
_OPTION: Final = "gencore.limits"
_AGAIN: Final = 10.0
"""Seconds until an alarm is repeated: what it raises is lost in a finalizer, for example."""
_STANDARD_INPUT, _STANDARD_OUTPUT = 0, 1
_STREAM: Final = 16 << 30
"""Bytes that a pipe may bring."""


@attrs.frozen(kw_only=True)
class Budget:
    """What may be spent on reading files."""

    cpu_seconds: float
    seconds: float
    memory: int = 4 << 30
    """Bytes that the process may allocate beside what it has; files that it maps do not count."""

    @classmethod
    def of_files(cls, *paths: Path) -> Self:
        """Return one for reading all of the files: honest ones take about a tenth of it."""
        size = sum(map(_size_of, paths)) / _MIB
        return cls(cpu_seconds=60 + round(2 * size), seconds=600 + round(10 * size))


TO_SUMMARIZE: Final = Budget(cpu_seconds=10, seconds=60)
"""For a row of `gencore list`, which reads only the manifest."""


def _size_of(path: Path) -> int:
    """Return the bytes of a file, or of an extracted bundle's core; ``-`` is standard input."""
    try:
        status = os.fstat(_STANDARD_INPUT) if path == Path("-") else path.stat()
        if stat.S_ISDIR(status.st_mode):
            status = (path / "core").stat()
    except OSError:  # the command reports it
        return 0
    return _STREAM if stat.S_ISFIFO(status.st_mode) else status.st_size


class _Exceeded(BaseException):
    """A limit is exceeded. Not an Exception, which the code that it interrupts might handle."""

    def __init__(self, seconds: float, kind: str) -> None:
        super().__init__()
        self.seconds = seconds
        self.kind = kind


def limited(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--no-limits``; run a command within the budget of the file that is its *path*."""

    @functools.wraps(command)
    def run(**arguments: Any) -> Any:
        path = arguments["path"]
        if path is None:
            return command(**arguments)
        name = click.get_current_context().command.name
        with within(Budget.of_files(path), path, str(name)):
            return command(**arguments)

    return no_limits_option(run)


def _note(context: click.Context, _: click.Parameter, no_limits: bool) -> None:  # noqa: FBT001 - click's signature
    context.meta[_OPTION] = not no_limits


no_limits_option = click.option(
    "--no-limits",
    is_flag=True,
    expose_value=False,
    callback=_note,
    help="Read it without limits of time and memory, and unconfined: for your own files.",
)


def limits_apply() -> bool:
    """Return whether the running command was not given ``--no-limits``."""
    return bool(click.get_current_context().meta[_OPTION])


def max_size_of(path: Path) -> int | None:
    """Return how many bytes may be written to unpack a file; None with ``--no-limits``.

    Honest ones take 3 to 20 times as many; deflate could make 1,000 times as many of them, and
    zstd 23,000 times.
    """
    return _UNPACKED + _EXPANSION * _size_of(path) if limits_apply() else None


def max_stream() -> int | None:
    """Return how many bytes may come from standard input; None with ``--no-limits``."""
    return _STREAM if limits_apply() else None


@contextmanager
def within(budget: Budget, path: Path, command: str) -> Iterator[None]:
    """Read a file within a budget, unless the command has ``--no-limits``.

    The remedy names *command*, which reads the file with that option.

    Raises `TimedOut` if it takes longer, and `IntegrityError` if it takes more memory, or more
    space. Only on the main thread.
    """
    if not limits_apply():
        yield
        return
    remedy = f"if you trust it: gencore {command} --no-limits {quote_path(path)}"
    try:
        with _memory(budget.memory), _timers(budget):
            yield
    except _Exceeded as limit:
        what = f"{path}: reading took more than {limit.seconds:g} s{limit.kind}"
        raise TimedOut(limit.seconds, "reading", what=what, remedy=remedy) from None
    except TooLarge as error:
        error.remedy = remedy
        raise
    except MemoryError:
        what = f"{path}: reading took more than {budget.memory // _MIB} MiB of memory"
        raise IntegrityError(what, remedy=remedy) from None


@contextmanager
def _timers(budget: Budget) -> Iterator[None]:
    """Raise `_Exceeded` when CPU time or time are over; restore the timers that there were."""
    on = True

    def end(number: int, _: FrameType | None) -> None:
        if not on:
            return
        if number == signal.SIGPROF:
            raise _Exceeded(budget.cpu_seconds, " of CPU time")
        if not _output_is_full():
            raise _Exceeded(budget.seconds, "")
        signal.setitimer(signal.ITIMER_REAL, budget.seconds, _AGAIN)

    timers = (
        (signal.ITIMER_PROF, signal.SIGPROF, budget.cpu_seconds),
        (signal.ITIMER_REAL, signal.SIGALRM, budget.seconds),
    )
    before = [
        (timer, number, signal.signal(number, end), signal.setitimer(timer, seconds, _AGAIN))
        for timer, number, seconds in timers
    ]
    try:
        yield
    finally:
        on = False
        for timer, number, handler, value in before:
            signal.setitimer(timer, *value)
            signal.signal(number, handler)


def _output_is_full() -> bool:
    """Return whether a pager, for example, does not take what is printed: that is not our time."""
    poll = select.poll()
    poll.register(_STANDARD_OUTPUT, select.POLLOUT)
    return not poll.poll(0)


@contextmanager
def _memory(size: int) -> Iterator[None]:
    """Let allocations beyond so many bytes fail with MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _allocated() + size
    within_others = min(limit for limit in (wanted, soft, hard) if limit != resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_DATA, (within_others, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _allocated() -> int:
    """Return what RLIMIT_DATA counts, in bytes; 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[5]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()

"""Shows the progress of a dump on standard error: a bar on a terminal, else plain stage lines.

The only module that imports tqdm.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Final, NoReturn

from gencore._pipeline.dump import Dump
from gencore.report import Report

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["counting", "wait_for"]

_WORDS: Final = {
    **dict.fromkeys(("pause", "libraries", "core"), "writing the core"),
    "publish": "publishing",
    "done": "done",
}
_OF_A_COLLECTOR: Final = "collecting"
"""What is shown of the other stages, which have the names of the collectors."""
_INTERVAL: Final = 0.1
_USUAL_WIDTH: Final = 80
"""Columns of a terminal that reports none; tqdm would draw nothing there."""


def wait_for(dump: Dump, *, quiet: bool) -> Report:
    """Wait for the report, and show the progress meanwhile, unless *quiet*.

    Ctrl-C cancels the dump too, which then leaves nothing behind.
    """
    try:
        if not quiet:
            _show_until_done(dump)
        return dump.result()
    except KeyboardInterrupt:
        dump.cancel()
        with contextlib.suppress(CancelledError):
            dump.result()
        raise


def _show_until_done(dump: Dump) -> None:
    if sys.stderr.isatty():
        _show_bar(dump)
    else:
        _show_lines(dump)


@contextlib.contextmanager
def counting(total: int, *, shown: bool) -> Iterator[Callable[[int], object]]:
    """Yield a function that takes the bytes of each step, for a bar of *total* if *shown*."""
    if not shown:
        yield lambda _: None
        return
    with _bar(total) as bar:
        yield bar.update


def _show_lines(dump: Dump) -> None:
    shown = None
    for _ in _until_done(dump):
        words = _words(dump)
        if words not in {shown, "done"}:
            print(f"gencore: {words}", file=sys.stderr)  # noqa: T201
            shown = words


def _until_done(dump: Dump) -> Iterator[None]:
    """Yield once in each interval, until the dump ends."""
    ended = threading.Event()
    dump.add_done_callback(lambda _: ended.set())
    while not ended.is_set():
        yield
        ended.wait(_INTERVAL)


def _words(dump: Dump) -> str:
    return _WORDS.get(dump.progress.stage, _OF_A_COLLECTOR)


def _show_bar(dump: Dump) -> None:
    with _bar(None) as bar:
        for _ in _until_done(dump):
            now = dump.progress
            bar.set_description(_words(dump), refresh=False)
            bar.total = now.total
            bar.n = min(now.done, now.total) if now.total else now.done
            bar.refresh()


def _bar(total: int | None) -> "tqdm[NoReturn]":
    from tqdm import tqdm

    width = None if os.get_terminal_size(sys.stderr.fileno()).columns else _USUAL_WIDTH
    return tqdm(
        total=total, unit="B", unit_scale=True, unit_divisor=1024, leave=False, ncols=width
    )

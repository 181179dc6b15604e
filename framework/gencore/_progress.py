"""Shows on standard error where a dump is: a bar on a terminal, plain stage lines elsewhere.

The only module that imports tqdm.
"""

import os
import sys
import time
from typing import Final

from gencore._dump import Dump

__all__ = ["show_until_done"]

_STAGES: Final = {
    "core": "writing the core",
    "collect": "collecting",
    "publish": "publishing",
    "done": "done",
}
_INTERVAL: Final = 0.1
_USUAL_WIDTH: Final = 80
"""Columns of a terminal that does not know how many it has; tqdm would draw nothing there."""


def show_until_done(dump: Dump) -> None:
    """Follow *dump* to its end."""
    if sys.stderr.isatty():
        _show_bar(dump)
    else:
        _show_lines(dump)


def _show_lines(dump: Dump) -> None:
    shown = None
    while not dump.done():
        stage = dump.progress.stage
        if stage not in {shown, "done"}:
            print(f"gencore: {_STAGES[stage]}", file=sys.stderr)  # noqa: T201
            shown = stage
        time.sleep(_INTERVAL)


def _show_bar(dump: Dump) -> None:
    from tqdm import tqdm

    width = None if os.get_terminal_size(sys.stderr.fileno()).columns else _USUAL_WIDTH
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, leave=False, ncols=width) as bar:
        while not dump.done():
            now = dump.progress
            bar.set_description(_STAGES[now.stage], refresh=False)
            bar.total = now.total
            bar.n = min(now.done, now.total) if now.total else now.done
            bar.refresh()
            time.sleep(_INTERVAL)

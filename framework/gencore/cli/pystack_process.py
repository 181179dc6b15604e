"""A process of its own that merges stacks with native frames by pystack, and prints them as JSON.

pystack may crash on a hostile core. Its own command line is not used: that would print lines of
whatever file of this machine the core names, and its output is text for people.
"""

import json
import sys
from collections import deque
from collections.abc import Iterator
from itertools import dropwhile
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from pystack.engine import NativeReportingMode, get_process_threads_for_core
from pystack.types import NativeFrame, PyFrame, PyThread, frame_type

Frames = Iterator[dict[str, Any]]
_EVAL: Final = NativeFrame.FrameType.EVAL
"""A frame of the interpreter's loop, which runs Python frames."""


def main(core: str, executable: str, libraries: str) -> None:
    """Print the threads of *core*; *libraries* is a sysroot."""
    threads = get_process_threads_for_core(
        Path(core),
        Path(executable),
        library_search_path=":".join(sorted(_directories(Path(libraries)))),
        native_mode=NativeReportingMode.PYTHON,
    )
    json.dump(list(map(_row, threads)), sys.stdout)


def _directories(root: Path) -> set[str]:
    """Return the directories below *root* that have libraries."""
    return {str(file.parent) for pattern in ("*.so", "*.so.*") for file in root.rglob(pattern)}


def _row(thread: PyThread) -> dict[str, Any]:
    merged = _is_mergeable(thread)
    return {
        "tid": thread.tid,
        "interpreter": thread.interpreter_id,
        "has_native": merged,
        "frames": list(_merged_frames(thread)) if merged else [],
    }


def _is_mergeable(thread: PyThread) -> bool:
    """Whether each of the interpreter's own native frames is that of known Python frames."""
    evaluating = sum(_kind(thread, frame) is _EVAL for frame in thread.native_frames)
    return evaluating == sum(frame.is_entry for frame in thread.all_frames)


def _merged_frames(thread: PyThread) -> Frames:
    """Put the Python frames that one call of the interpreter ran in the place of that call."""
    python = deque(dropwhile(attrgetter("is_shim"), thread.all_frames))
    for frame in thread.native_frames:
        kind = _kind(thread, frame)
        if kind is _EVAL:
            yield from map(_python_frame, _of_one_call(python))
        elif kind is NativeFrame.FrameType.OTHER:
            yield _native_frame(frame)


def _of_one_call(frames: deque[PyFrame]) -> Iterator[PyFrame]:
    """Take the next frame, and those behind it that the same call of the interpreter ran."""
    taken = [frames.popleft()] if frames else []
    while frames and not frames[0].is_entry:
        taken.append(frames.popleft())
    return (frame for frame in taken if not frame.is_shim)


def _kind(thread: PyThread, frame: NativeFrame) -> NativeFrame.FrameType:
    return frame_type(frame, thread.python_version)


def _python_frame(frame: PyFrame) -> dict[str, Any]:
    code = frame.code
    return {
        "function": code.scope,
        "file": code.filename,
        "line": code.location.lineno,
        "library": None,
    }


def _native_frame(frame: NativeFrame) -> dict[str, Any]:
    return {
        "function": frame.symbol,
        "file": frame.path,
        "line": frame.linenumber,
        "library": frame.library,
    }


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # whatever it is, the parent reports it in one line
        sys.exit(str(error) or type(error).__name__)

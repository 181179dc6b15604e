"""The section ``threads``: the kernel's threads, joined with the interpreter's."""

from typing import Any

import attrs

from gencore import DumpInProgress
from gencore.process import PythonThread

__all__ = ["section"]


def section(dump: DumpInProgress, known: tuple[PythonThread, ...]) -> list[dict[str, Any]]:
    """Return it; a thread of the interpreter that the kernel's list lacks comes last."""
    python = {thread.native_id: thread for thread in known if thread.native_id is not None}
    before = round(dump.observed_before, 6)
    rows = [_thread(attrs.asdict(r), python.pop(r.tid, None), before) for r in dump.threads]
    unknown = [thread for thread in known if thread.native_id is None]
    rest = [*python.values(), *unknown]
    return rows + [_thread({"tid": t.native_id, "registers": "missing"}, t, before) for t in rest]


def _thread(row: dict[str, Any], thread: PythonThread | None, before: float) -> dict[str, Any]:
    python = None
    if thread is not None:
        python = {
            "ident": thread.ident,
            "name": thread.name,
            "daemon": thread.daemon,
            "frames": [attrs.asdict(frame) for frame in thread.frames],
            "frames_truncated": thread.truncated,
            "seconds_before": before,
        }
    return {"tid": None, "name": None, "registers": None, "reason": None, **row, "python": python}

"""Loads what a platform does in the process that is to be dumped: its entry in ``gencore.agents``.

Loads little, as `gencore.arming`.
"""

import sys
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

from gencore._runtime.own_entry_points import own_entry_points

if TYPE_CHECKING:
    from gencore.arming import Agent

__all__ = ["agent"]

_GROUP: Final = "gencore.agents"
"""Of gencore itself only: they run in every armed process, before anything else."""


@cache
def agent() -> "Agent":
    """Return the module of this platform. Raises `Unsupported`."""
    module = own_entry_points(_GROUP).get(sys.platform)
    if module is None:
        from gencore.errors import Unsupported
        from gencore.verdict import Reason, Verdict

        verdict = Verdict.no(Reason(f"there is none for {sys.platform}", "run it on Linux"))
        raise Unsupported({"agent": verdict})
    return import_module(module)

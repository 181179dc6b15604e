"""Loads what a platform does in the process that is to be dumped: its entry in ``gencore.agents``.

Loads little, as `gencore.arming`.
"""

import sys
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gencore.arming import Agent

__all__ = ["agent"]

_DISTRIBUTION: Final = "gencore"
"""Only its own agents are looked for: they run in every armed process, before anything else."""
_GROUP: Final = "gencore.agents"


@cache
def agent() -> "Agent":
    """Return the module of this platform. Raises `Unsupported`."""
    from importlib import import_module
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = distribution(_DISTRIBUTION).entry_points.select(group=_GROUP)
        (module,) = (entry.module for entry in found if entry.name == sys.platform)
    except (PackageNotFoundError, ValueError) as error:
        from gencore.errors import Unsupported
        from gencore.verdict import Reason, Verdict

        verdict = Verdict.no(Reason(f"there is none for {sys.platform}", "run it on Linux"))
        raise Unsupported({"agent": verdict}) from error
    return import_module(module)

"""What this process says of itself: its arguments, its interpreter, its annotations."""

import platform
import sys
import sysconfig

from gencore.annotations import standing_annotations
from gencore.target import ProcessFacts

__all__ = ["facts_of_this_process"]


def facts_of_this_process() -> ProcessFacts:
    """Return them."""
    return ProcessFacts(
        argv=tuple(sys.orig_argv), runtime=_runtime(), annotations=standing_annotations()
    )


def _runtime() -> dict[str, object]:
    return {
        "implementation": sys.implementation.name,
        "version": platform.python_version(),
        "build": " ".join(platform.python_build()),
        "compiler": platform.python_compiler(),
        "gil": bool(getattr(sys, "_is_gil_enabled", lambda: True)()),
        "abiflags": getattr(sys, "abiflags", ""),
        "soabi": sysconfig.get_config_var("SOABI"),
        "flags": _flags(),
        "prefix": sys.prefix,
    }


def _flags() -> dict[str, int]:
    """Return sys.flags by name; its fields differ between versions, and not all are in order."""
    values = {name: getattr(sys.flags, name) for name in dir(sys.flags)}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, int) and not name.startswith("n_")
    }

"""The section ``runtime``: the interpreter."""

import platform
import sys
import sysconfig
from typing import Any

__all__ = ["section"]


def section() -> dict[str, Any]:
    """Return it."""
    return {
        "implementation": sys.implementation.name,
        "version": platform.python_version(),
        "build": " ".join(platform.python_build()),
        "compiler": platform.python_compiler(),
        "gil": bool(getattr(sys, "_is_gil_enabled", lambda: True)()),
        "abiflags": getattr(sys, "abiflags", ""),
        "soabi": sysconfig.get_config_var("SOABI"),
        "prefix": sys.prefix,
    }

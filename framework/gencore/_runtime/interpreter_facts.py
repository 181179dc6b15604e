"""What the interpreter says of itself, in JSON's types.

Loads little: it runs at the start of armed processes.
"""

import sys
from collections.abc import Mapping
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Any

__all__ = ["interpreter_facts"]


@cache
def interpreter_facts() -> Mapping[str, Any]:
    """Return the section ``runtime`` of the manifest: nothing of it changes."""
    version, _, rest = sys.version.partition(" ")
    build, _, compiler = rest.partition("[")
    return {
        "implementation": sys.implementation.name,
        "version": version.rstrip("+"),
        "build": build.strip(" ()\n").replace(",", ""),
        "compiler": compiler.rstrip("]"),
        "gil": bool(getattr(sys, "_is_gil_enabled", lambda: True)()),
        "abiflags": getattr(sys, "abiflags", ""),
        "soabi": _soabi(),
        "flags": _flags(),
        "prefix": sys.prefix,
    }


def _soabi() -> str | None:
    """Return the tag of extension modules, such as ``cpython-311-x86_64-linux-gnu``."""
    tags = [suffix.split(".")[1] for suffix in EXTENSION_SUFFIXES if suffix.count(".") == 2]  # noqa: PLR2004 - .TAG.so
    return tags[0] if tags and tags[0] != "abi3" else None


def _flags() -> dict[str, int]:
    """Return sys.flags by name; its fields differ between versions, and not all are in order."""
    values = {name: getattr(sys.flags, name) for name in dir(sys.flags)}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, int) and not name.startswith("n_")
    }

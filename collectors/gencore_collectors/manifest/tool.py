"""The section ``tool``: who made the dump, with which plug-ins and options."""

import platform
from collections.abc import Mapping
from typing import Any, Final

import attrs

import gencore
from gencore import DumpInProgress

__all__ = ["section"]

_NAMES: Final = {
    "name": "name",
    "distribution": "dist",
    "version": "version",
    "api_version": "api_version",
    "status": "status",
    "reason": "error",
}


def section(dump: DumpInProgress) -> dict[str, Any]:
    """Return it."""
    plugins = [_plugin(row) for row in dump.plugins]
    options = attrs.asdict(dump.request)
    del options["target"]  # the manifest is about it
    del options["reason"], options["fired"]  # they are in another section
    del options["excluded"]  # addresses of secrets are nobody's business
    del options["annotations"]  # they have a section of their own
    return {
        "name": "gencore",
        "version": gencore.__version__,
        "python": platform.python_version(),
        "backend": _backend(dump, plugins),
        "plugins": plugins,
        "options": options,
    }


def _plugin(row: Mapping[str, object]) -> dict[str, Any]:
    group = f"gencore.{row['family']}s"
    return {"group": group, **{ours: row.get(theirs) for theirs, ours in _NAMES.items()}}


def _backend(dump: DumpInProgress, plugins: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is known of the backend; one that was not loaded by name has no distribution."""
    key = ("gencore.backends", dump.backend, "ok")
    rows = (row for row in plugins if (row["group"], row["name"], row["status"]) == key)
    known = next(rows, {})
    return {
        "name": dump.backend,
        **{key: known.get(key) for key in ("dist", "version", "api_version")},
        "method": dump.method or None,
    }

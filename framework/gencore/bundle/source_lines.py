"""Looks up lines of the Python sources in a bundle."""

import os.path
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from gencore.bundle.manifest import ManifestValue
from gencore.bundle.opened_core import OpenedCore
from gencore.bundle.reader import BundleReader
from gencore.errors import IntegrityError

__all__ = ["SourceLines"]

_LARGEST: Final = 16 << 20
"""Bytes of a source, at most: dumps include no larger one."""
_MOST_LINES: Final = 200_000
"""Lines of a source, at most."""
_LONGEST: Final = 1000
"""Characters of a line that are shown."""


class SourceLines:
    """The sources in an open bundle, or in what was extracted from one."""

    def __init__(self, bundle: BundleReader | OpenedCore) -> None:
        self._bundle = bundle
        self._lines_of = lru_cache(maxsize=16)(self._read)

    def find(self, file: str, number: float | None) -> str | None:
        """Return line *number* (from 1) of a code object's source, without its indentation.

        None if the bundle does not have it.
        """
        lines = self._lines_of(file)
        if number is None or not 1 <= number <= len(lines):
            return None
        return lines[int(number) - 1].decode(errors="replace").strip()[:_LONGEST]

    def of_stacks(self, manifest: Mapping[str, Any]) -> dict[tuple[str, int], str]:
        """Return the lines of a manifest's Python stacks that the bundle has, by file, number."""
        frames = [f for row in ManifestValue(manifest)["threads"] for f in row["python"]["frames"]]
        places = {(f["file"].text or "", int(f["line"].amount or 0)) for f in frames}
        found = {place: self.find(*place) for place in sorted(places)}  # each file is read once
        return {place: line for place, line in found.items() if line}

    def _read(self, file: str) -> list[bytes]:
        member = self._bundle.find(os.path.normpath(file)) if Path(file).is_absolute() else None
        if member is None or member.size > _LARGEST:
            return []
        try:
            with self._bundle.open(member.path) as source:
                data = source.read()
        except IntegrityError:  # the stack is worth showing without it; `verify` names the damage
            return []
        return data.splitlines() if data.count(b"\n") + data.count(b"\r") < _MOST_LINES else []

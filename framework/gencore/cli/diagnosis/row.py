"""What is judged, and the row that each check makes of it."""

from pathlib import Path
from typing import Literal

import attrs

from gencore.target import Target
from gencore.verdict import Prospect

__all__ = ["Case", "Row", "State"]

State = Literal["ok", "note", "warning", "no"]
"""``note``: a dump works all the same; ``warning``: it may not; ``no``: it does not."""


@attrs.frozen
class Row:
    """What one check has found."""

    name: str
    state: State
    value: str | int | bool | None
    """As a program reads it: sizes are in bytes, and the name ends so; None is unknown."""
    text: str
    """As people read it."""
    remedy: str | None = None
    """One command."""

    @property
    def label(self) -> str:
        """The name as people read it."""
        return self.name.removesuffix("_bytes").replace("_", " ")


@attrs.frozen(kw_only=True)
class Case:
    """A dump that might be made."""

    target: Target
    """The process to dump; if it is this one, it stands for a service that dumps itself."""
    directory: Path | None
    """Where the files would go, if there are any."""
    prospect: Prospect | None = None
    """What it would take; None if it would be refused."""

    @property
    def largest(self) -> int | None:
        """Bytes of its largest file, at most; None if unknown."""
        return None if self.prospect is None else self.prospect.largest_size

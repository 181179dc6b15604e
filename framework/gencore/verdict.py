"""The answer to "would it work here?": yes, or no with reasons and what to do about each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import attrs

__all__ = ["Prospect", "Reason", "Verdict"]


@attrs.frozen
class Reason:
    """One reason why something does not work, and what to do about it."""

    text: str
    remedy: str | None = None


@attrs.frozen(kw_only=True)
class Verdict:
    """A backend's answer to "would it work here?"."""

    reasons: tuple[Reason, ...] = ()
    """Why not. Empty means yes."""
    core_size: int | None = None
    """Bytes that the core will need on disk, estimated from above; None if unknown."""
    facts: Mapping[str, str] = attrs.field(factory=dict)
    """What the backend found, for ``gencore doctor``."""

    @classmethod
    def yes(cls, *, core_size: int | None = None, facts: Mapping[str, str] | None = None) -> Self:
        """Return a verdict that the backend works here."""
        return cls(core_size=core_size, facts=facts or {})

    @classmethod
    def no(cls, *reasons: Reason, facts: Mapping[str, str] | None = None) -> Self:
        """Return a verdict that the backend does not work here, and why."""
        return cls(reasons=reasons, facts=facts or {})

    @property
    def ok(self) -> bool:
        """Whether the backend works here."""
        return not self.reasons


@attrs.frozen(kw_only=True)
class Prospect:
    """What a dump would take that was checked and not made, see `Pipeline.prospect`."""

    backend: str
    """The name of the backend that would be used."""
    core_size: int | None = None
    """Bytes of the core, estimated from above; None if unknown."""
    directory: Path | None = None
    """Where files would be written; None if all artefacts are sent elsewhere."""
    usual_size: int | None = None
    """Bytes that the files usually need; None if unknown, or if there are none."""
    largest_size: int | None = None
    """Bytes that they need if nothing can be compressed."""
    warnings: tuple[str, ...] = ()
    """What might fail all the same."""

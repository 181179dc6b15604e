"""Decides whose the name of each artefact of a dump is: it is taken once, by one collector."""

from collections.abc import Iterable
from typing import Any, Final

from gencore._pipeline.participant import Participant

__all__ = ["ArtifactNames", "check_artifact_name"]

_LONGEST_NAME: Final = 200
"""Bytes: with the dump's own name before it, less than the 255 of NAME_MAX."""


class ArtifactNames:
    """The names of one dump. Those that participants reserve are theirs from the beginning.

    Used by several threads: each use is one step of the interpreter.
    """

    def __init__(self, participants: Iterable[Participant]) -> None:
        self._reserved: dict[str, str] = {}
        self._taken: dict[str, tuple[str]] = {}
        for participant in sorted(participants, key=lambda p: not p.built_in):  # ours come first
            for name in participant.reserves:
                self._reserved.setdefault(name, participant.name)

    def take(self, name: str, collector: str) -> None:
        """Make *name* one of *collector*'s. Raises `ValueError` if it cannot be."""
        owner = self._reserved.get(name, collector)
        if owner != collector:
            raise ValueError(f"the artefact name {name!r} is reserved for collector {owner!r}")
        claim = (collector,)
        first = self._taken.setdefault(name, claim)
        if first is not claim:
            raise ValueError(f"the artefact name {name!r} is taken by collector {first[0]!r}")

    def free(self, names: Iterable[str]) -> None:
        """Let others take *names*: nothing of them is left."""
        for name in names:
            self._taken.pop(name, None)


def check_artifact_name(name: Any) -> None:
    """Raise `ValueError` unless an artefact can have this name on any system, or `TypeError`."""
    if type(name) is not str:
        raise TypeError(f"an artefact's name is text, not {type(name).__name__}")
    size = len(name.encode(errors="surrogatepass"))
    if not name.isprintable() or "/" in name or name in {"", ".", ".."} or size > _LONGEST_NAME:
        raise ValueError(
            f"{name[:_LONGEST_NAME]!r} is no name for an artefact: expected printable text "
            f"without '/', of at most {_LONGEST_NAME} bytes"
        )

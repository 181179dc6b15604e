"""A dump as one collector sees it: everything that is known, and nothing that it could change."""

import errno
import os
from collections.abc import Iterable
from typing import BinaryIO

import attrs

from gencore._pipeline.artifacts import OwnArtifacts
from gencore._pipeline.read_only import read_only
from gencore._pipeline.state import DumpState
from gencore._pipeline.stores import Stores
from gencore.collector import DumpInProgress
from gencore.libraries import Library
from gencore.output import ArtifactWriter
from gencore.report import Artifact

__all__ = ["view_of"]

_OWN = {"end_by", "output", "stores", "paused_at", "recorder_reason", "call_seconds"}
"""What only the pipeline needs."""
_COPIED = tuple(field.name for field in attrs.fields(DumpState) if field.name not in _OWN)


class _View(DumpInProgress):
    """Made for one call. Attributes are set once; lists are tuples."""

    _state: DumpState
    _own: OwnArtifacts

    def __init__(self, state: DumpState, own: OwnArtifacts) -> None:
        facts = {name: getattr(state, name) for name in _COPIED}
        facts = {name: read_only(value) for name, value in facts.items()}
        files = _Finished(state.stores, state.artifacts)
        vars(self).update(facts, output=files, _state=state, _own=own)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name!r} belongs to the framework, and cannot be set")

    @property
    def libraries(self) -> tuple[Library, ...]:
        return self._state.libraries

    @property
    def sources(self) -> tuple[Library, ...]:
        return self._state.sources

    def create(self, name: str) -> ArtifactWriter:
        return self._own.create(name)

    def take_core(self, name: str) -> None:
        self._own.take_core(self._state.core, self._state.core_sha256, name)

    def skip(self, part: str, reason: str) -> None:
        if not all(isinstance(text, str) for text in (part, reason)):
            raise TypeError(f"skip({part!r}, {reason!r}): expected text")
        self._state.skip(part, reason)


class _Finished:
    """Opens artefacts that are finished, and no other file of the private directory."""

    def __init__(self, stores: Stores, artifacts: Iterable[Artifact]) -> None:
        self._stores = stores
        self._names = {artifact.name for artifact in artifacts if not artifact.streamed}

    def open(self, name: str) -> BinaryIO:
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return self._stores.open(name)


def view_of(state: DumpState, own: OwnArtifacts) -> DumpInProgress:
    """Return the dump as it is now, for the collector whose artefacts are *own*."""
    return _View(state, own)

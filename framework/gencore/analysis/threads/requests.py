"""Finds the requests that a dumped process was working on, by what its frames have as locals.

A WSGI server calls the application with an ``environ``, an ASGI server with a ``scope``, and a
Celery worker has a ``request`` for each task: dictionaries with keys that nothing else has
together. Of these only what names the request is read, and not what may be secret.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final, Literal

import attrs

from gencore.analysis.inspection.contents import Contents
from gencore.analysis.inspection.objects import find_in_dict
from gencore.analysis.interpreter.memory import AbsentMemory
from gencore.analysis.interpreter.python import Python
from gencore.analysis.threads.frame_values import FrameValues

__all__ = ["Request", "RequestReader"]

Protocol = Literal["WSGI", "ASGI", "Celery"]

_MOST_KEYS: Final = 1 << 9
"""Of an environ: it has the process's environment too."""
_LONGEST: Final = 200
"""Characters of what is read."""
_REDACTED: Final = "[redacted]"
_LIKE_A_SECRET: Final = re.compile(r"(?=[^/]*\d)[^/]{20,}|[^/]*[=@:;][^/]*")
"""A segment of a path: long with digits, as tokens are, or with what separates names of values."""


@attrs.frozen
class _Shape:
    """The keys by which a dictionary is recognised, and those of what is shown."""

    protocol: Protocol
    keys: tuple[str, ...]
    method: str | None
    target: str


_SHAPES: Final = (
    _Shape("WSGI", ("wsgi.version", "REQUEST_METHOD", "PATH_INFO"), "REQUEST_METHOD", "PATH_INFO"),
    _Shape("ASGI", ("asgi", "type", "path", "headers"), "method", "path"),
    _Shape("Celery", ("task", "id", "root_id"), None, "task"),
)


@attrs.frozen(kw_only=True)
class Request:
    """A request that was not answered yet."""

    protocol: Protocol
    method: str | None
    """``GET``; None of tasks and websockets."""
    target: str
    """The path, without a query, or the task's name; segments like secrets are ``[redacted]``."""
    address: int
    """Of its dictionary."""


class RequestReader:
    """Finds each request once, in the outermost of the frames that it was passed through."""

    def __init__(self, python: Python) -> None:
        """Read from a Python's memory."""
        self._memory, self._layout = python.memory, python.layout
        self._contents, self._frames = Contents(python), FrameValues(python)
        self._seen: set[int] = set()

    def within(self, frames: Iterable[int]) -> Iterator[Request]:
        """Yield the requests that the local variables of frames have, by the frames' addresses."""
        for frame in frames:
            with suppress(AbsentMemory):
                for value in self._variables(frame):
                    if value not in self._seen:
                        self._seen.add(value)
                        yield from self._request(value)

    def _variables(self, frame: int) -> Iterator[int]:
        code = self._frames.code(frame)
        if code is not None:
            yield from filter(None, self._frames.variables(frame, code))

    def _request(self, thing: int) -> Iterator[Request]:
        with suppress(AbsentMemory):
            lineage = self._contents.type_of(thing).lineage
            if "dict" not in lineage or not self._contents.length(thing) or self._is_large(thing):
                return
            for shape in _SHAPES:
                if all(self._find(thing, key) for key in shape.keys):
                    yield self._of(shape, thing)

    def _is_large(self, thing: int) -> bool:
        return (self._contents.length(thing) or 0) > _MOST_KEYS

    def _of(self, shape: _Shape, thing: int) -> Request:
        target = self._text(self._find(thing, shape.target)).partition("?")[0]
        method = self._text(self._find(thing, shape.method)) if shape.method else None
        return Request(
            protocol=shape.protocol,
            method=method or None,
            target="/".join(map(_without_secret, target.split("/"))),
            address=thing,
        )

    def _find(self, thing: int, key: str) -> int | None:
        return find_in_dict(self._memory, self._layout, thing, key)

    def _text(self, thing: int | None) -> str:
        if not thing or "str" not in self._contents.type_of(thing).lineage:
            return ""
        return self._contents.text(thing, _LONGEST)


def _without_secret(segment: str) -> str:
    return _REDACTED if _LIKE_A_SECRET.fullmatch(segment) else segment

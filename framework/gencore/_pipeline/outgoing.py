"""Sends artefacts to a destination while they are made, through the filters on the way."""

import hashlib
import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import attrs

from gencore._pipeline.own_code import is_own
from gencore._runtime.application_errors import reraise_if_applications
from gencore._runtime.foreign_errors import type_name
from gencore._runtime.return_values import refuse_awaitable, unexpected
from gencore.destination import Destination, Upload
from gencore.errors import GencoreError, PluginError
from gencore.filter import ByteSink, Filter
from gencore.output import ArtifactWriter
from gencore.report import Artifact, describe_error

__all__ = ["Outgoing"]


T = TypeVar("T")


class Outgoing:
    """The uploads of one dump."""

    def __init__(self, destination: Destination, filters: Sequence[Filter], dump: str) -> None:
        self.who = f"destination {type(destination).name!r}"
        """Whose they are, for messages."""
        self._destination = destination
        self._filters = filters
        self._dump = dump
        self._uploads: dict[str, _Upload] = {}
        self._parts: list[object] = []
        """Every upload and every sink."""

    def create(self, name: str, size_hint: int | None = None) -> ArtifactWriter:
        """Begin an artefact. Raises what the destination and the filters raise."""
        upload = _Upload(
            self._destination, self._filters, f"{self._dump}.{name}", size_hint, self._claim
        )
        self._uploads[name] = upload
        bound = not all(is_own(type(used)) for used in (self._destination, *self._filters))
        return ArtifactWriter(name, cast("BinaryIO", upload), upload.name, bound=bound)

    def _claim(self, part: object) -> None:
        """Raise `ValueError` if a plug-in has returned *part* for another artefact already."""
        if any(part is other for other in self._parts):
            raise ValueError(f"open() returned one {type_name(part)} for two artefacts")
        self._parts.append(part)

    def check(self, writer: ArtifactWriter) -> None:
        """Do nothing: there is no file that could have been changed."""

    def rename(self, old: str, new: str) -> bool:  # noqa: ARG002 - as of any store
        """Return False: the destination got the name with the first byte."""
        return False

    def remove(self, name: str) -> None:
        """Leave nothing of an artefact. Raises what the destination raises."""
        upload = self._uploads.pop(name, None)
        if upload is not None:
            upload.abort()

    def publish(self, artifact: Artifact) -> Artifact:
        """Commit an artefact; return it with what was sent of it, and where that is."""
        committed = self._uploads[artifact.name].commit(artifact)
        self._uploads.pop(artifact.name, None)  # until then it can be aborted
        return committed

    def send(self, artifact: Artifact, file: BinaryIO) -> Artifact:
        """Send what was kept to be packed, and was not. Closes *file*."""
        with file, self.create(artifact.name, artifact.size) as writer:
            writer.write(file.read())
        return self.publish(artifact)

    @property
    def names(self) -> list[str]:
        """What was created, and is neither published nor removed."""
        return list(self._uploads)


class _Upload(io.RawIOBase):
    """One artefact on its way: takes bytes, and counts those that leave the last filter."""

    def __init__(
        self,
        destination: Destination,
        filters: Sequence[Filter],
        name: str,
        hint: int | None,
        claim: Callable[[object], None],
    ) -> None:
        self._suffix = "".join(used.suffix for used in filters)
        self.name = name + self._suffix
        self._destination = destination
        self._upload: Upload = self._ask(
            destination, _open_upload, destination, self.name, hint, claim
        )
        self._sent = _Counted(
            lambda data: self._ask(destination, self._upload.write, data), hashed=bool(filters)
        )
        self._steps: tuple[tuple[Filter, ByteSink], ...] = ()
        sink: Any = self._sent
        try:
            for used in reversed(filters):
                sink = self._ask(used, _open_sink, used, sink, claim)
                self._steps = ((used, sink), *self._steps)
        except BaseException:
            self.abort()
            raise
        self._filters = tuple(used.name for used in filters)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        chunk = memoryview(data).cast("B").toreadonly()
        steps = self._steps  # abort() may take them away meanwhile
        if steps:
            used, sink = steps[0]
            self._ask(used, sink.write, chunk)
        else:
            self._sent.write(chunk)
        return len(chunk)

    def close(self) -> None:
        """Let each filter write the rest, the first one first."""
        if not self.closed:
            super().close()
            for used, sink in self._steps:
                self._ask(used, sink.close)
            self._sent.end()

    def commit(self, artifact: Artifact) -> Artifact:
        path, url = self._ask(self._destination, _commit, self._upload)
        return attrs.evolve(
            artifact,
            name=artifact.name + self._suffix,
            size=self._sent.size,
            sha256=self._sent.sha256 or artifact.sha256,
            path=path,
            url=url,
            filters=self._filters,
        )

    def abort(self) -> None:
        """Send nothing more: a filter that cannot be aborted is closed, and writes its rest."""
        self._sent.mute()
        steps, self._steps = self._steps, ()
        with ExitStack() as stack:  # each is aborted, whatever another one raises
            for used, sink in reversed(steps):
                stack.callback(self._give_up, used, sink)
            stack.callback(self._ask, self._destination, self._upload.abort)  # the first one

    def _give_up(self, used: Filter, sink: ByteSink) -> None:
        abort = getattr(sink, "abort", None)
        if abort is not None:
            self._ask(used, abort)
        elif not self.closed:
            self._ask(used, sink.close)

    def _ask(self, plugin: Any, function: Callable[..., Any], *args: Any) -> Any:
        """Make a call of a plug-in's; what it raises names the plug-in, not who wrote."""
        try:
            return _awaited_by_nobody(function(*args))
        except GencoreError:
            raise
        except BaseException as error:
            reraise_if_applications(error)
            family = "filter" if isinstance(plugin, Filter) else "destination"
            reason = describe_error(error)
            raise PluginError(
                family=family, name=type(plugin).name, status="failed", reason=reason
            ) from error


def _awaited_by_nobody(returned: T) -> T:
    refuse_awaitable(returned)
    return returned


def _open_upload(
    destination: Destination, name: str, hint: int | None, claim: Callable[[object], None]
) -> Upload:
    upload: object = destination.open(name, hint)
    if not isinstance(upload, Upload):
        raise unexpected(upload, "open", "an Upload")
    claim(upload)
    return upload


def _open_sink(used: Filter, writer: BinaryIO, claim: Callable[[object], None]) -> ByteSink:
    sink: object = used.open(writer)
    if sink is writer:  # a filter that changes nothing
        return writer
    if not all(callable(getattr(sink, method, None)) for method in ("write", "close")):
        raise unexpected(sink, "open", "what has write() and close()")
    claim(sink)
    return cast("ByteSink", sink)


def _commit(upload: Upload) -> tuple[Path | None, str | None]:
    """Return where the artefact is: its path, or else its URL."""
    place: object = upload.commit()
    if isinstance(place, Path):
        return place, None
    if isinstance(place, str) and place:
        return None, str.__str__(place)  # of no subclass
    raise unexpected(place, "commit", "a URL or a Path")


class _Counted(io.RawIOBase):
    """Counts what is sent, and hashes it if that may be other bytes than were written."""

    def __init__(self, send: Callable[[memoryview], object], *, hashed: bool) -> None:
        self._send = send
        self._digest = hashlib.sha256() if hashed else None
        self.size = 0

    def mute(self) -> None:
        self._send = lambda _: None

    def end(self) -> None:
        """Refuse what a filter writes after it was closed."""
        self._send = _refuse

    @property
    def sha256(self) -> str | None:
        return None if self._digest is None else self._digest.hexdigest()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        chunk = memoryview(data).cast("B").toreadonly()
        self._send(chunk)
        if self._digest is not None:
            self._digest.update(chunk)
        self.size += len(chunk)
        return len(chunk)


def _refuse(_: memoryview) -> None:
    raise ValueError("the artefact is closed")

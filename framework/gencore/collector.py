"""The contract between the framework and a collector: what is saved beside or around the core.

A complete collector::

    class Uptime(Collector):
        name = "uptime"
        api_version = (1, 0)

        def finish(self, dump):
            with dump.create("uptime.txt") as file:
                file.write(Path("/proc/uptime").read_bytes())
            yield file.artifact()

published by its distribution as an entry point in the group ``gencore.collectors`` under the same
name. docs/how-to/write-a-collector.md walks through a working one.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property
from typing import ClassVar

import attrs

from gencore._python_sources import describe_sources
from gencore.core_stream import CoreStream
from gencore.libraries import Library, describe
from gencore.output import ArtifactWriter, Output
from gencore.process import MappedFile, ObservedProcess, ThreadRecord
from gencore.report import Artifact, Failed, Pause, Phase, Skipped
from gencore.request import DumpRequest

__all__ = ["Collector", "CoreSink", "DumpInProgress"]


@attrs.define(kw_only=True)
class DumpInProgress:
    """One dump as its collectors see it, after the pause."""

    name: str
    """The dump's name, and the bundle's top folder."""
    id: str
    """A UUID of version 7, its own."""
    created_at: datetime
    """When the dump began, a moment before the pause; UTC."""
    request: DumpRequest
    backend: str
    method: str
    """The backend's `Backend.method`."""
    plugins: tuple[Mapping[str, object], ...]
    """Every plug-in of this dump: family, name, distribution, version, api_version, status."""
    output: Output
    packed: bool = False
    """Whether a collector with `packs` takes part, so that artefacts end up inside its file."""
    trace: tuple[str, str] | None = None
    """OpenTelemetry's trace ID and span ID, in hexadecimal, that were current for the caller."""
    pause: Pause = attrs.field(factory=lambda: Pause(total=0.0))
    threads: tuple[ThreadRecord, ...] = ()
    mapped_files: tuple[MappedFile, ...] = ()
    """Every file that was mapped at the instant, the executable first."""
    python_files: tuple[str, ...] = ()
    """The names of the files on the Python stacks, as code objects have them; empty unless
    `DumpRequest.sources`."""
    core: CoreStream | None = None
    """The core; None where it failed."""
    core_sha256: str | None = None
    """Of the whole core; known in `finish`, if any collector read the bytes."""
    artifacts: list[Artifact] = attrs.field(factory=list)
    """What the collectors before this one have finished."""
    phases: list[Phase] = attrs.field(factory=list)
    """The steps that have ended so far."""
    skipped: list[Skipped] = attrs.field(factory=list)
    failed: list[Failed] = attrs.field(factory=list)
    tolerated: list[Failed] = attrs.field(factory=list)
    """Failures of optional collectors: each is a warning, unless nothing at all is saved."""
    warnings: list[str] = attrs.field(factory=list)

    @cached_property
    def libraries(self) -> tuple[Library, ...]:
        """The facts of each mapped file. Reads them all, at the first use."""
        return tuple(describe(file, self.request) for file in self.mapped_files)

    @cached_property
    def sources(self) -> tuple[Library, ...]:
        """The facts of each Python file that goes into a bundle. Reads them, at the first use."""
        return describe_sources(self.python_files, self.mapped_files) if self.python_files else ()

    def create(self, name: str) -> ArtifactWriter:
        """Create the file of an artefact, to be written and closed. Raises OSError."""
        return self.output.create(name)

    def skip(self, part: str, reason: str) -> None:
        """Put into the report that *part* was left out; the dump becomes ``partial``."""
        self.skipped.append(Skipped(part, reason))


class CoreSink(ABC):
    """Takes the bytes of a core, in file order, on the dump's worker thread."""

    @abstractmethod
    def write(self, chunk: memoryview) -> None:
        """Take the next bytes. *chunk* is valid only during the call."""

    def close(self) -> None:  # noqa: B027 - doing nothing is the default, not an omission
        """Be told that the core is whole. Default: nothing."""

    def abort(self) -> None:  # noqa: B027
        """Be told that no more bytes will come, or that `Collector.finish` will not be called.

        Called once at most, also after `close`: release everything. Default: nothing.
        """


class Collector(ABC):
    """Saves one thing about a dump. One object serves one dump; options are keyword arguments.

    An exception from any method costs this collector's artefact and nothing else.
    """

    name: ClassVar[str]
    """The entry point's name: lower-case letters, digits and hyphens."""
    api_version: ClassVar[tuple[int, int]]
    """The version of this contract that the collector was written for; now (1, 0)."""
    packs: ClassVar[bool] = False
    """Whether it finishes after the others and takes their artefacts into its own."""
    keeps_core: ClassVar[bool] = False
    """Whether it publishes the core as a file: a backend that can then writes one at once."""
    time_limit: ClassVar[float | None] = 60.0
    """Seconds that all its calls after the pause may take in one dump; a pipeline may say
    otherwise. Then it is left behind and reported as failed, and the dump goes on. None: as long
    as the dump takes, for a collector whose work grows with the core."""
    makes_files: ClassVar[bool] = True
    """Whether it makes files: the output directory is then checked before the pause. Where no
    collector does, and the backend needs none, no directory is touched."""

    def observe(self, process: ObservedProcess) -> None:  # noqa: B027
        """Note what only the live process knows. Called just before the pause. Default: nothing.

        Must be quick and bounded; must not import, wait, or open files. On a thread of its own,
        with the caller's context variables; after a second the dump goes on without the collector.
        (Those of gencore itself are called inside the pause, on the caller's thread.)
        """

    def begin(self, dump: DumpInProgress) -> CoreSink | None:  # noqa: ARG002
        """Return a sink to be given the core's bytes. Default: None, they are not wanted.

        Called after the pause, once the core's size is known; not called if the core failed.
        """
        return None

    @abstractmethod
    def finish(self, dump: DumpInProgress) -> Iterable[Artifact]:
        """Make the artefacts, through `DumpInProgress.create`.

        Called after the core's last byte. If the core failed, ``dump.core`` is None: a collector
        that is of no use without it returns nothing.
        """

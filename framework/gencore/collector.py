"""The contract between the framework and a collector: what is saved beside or around the core.

A complete collector::

    class Uptime(Collector):
        name = "uptime"
        api_version = (1, 1)

        def finish(self, dump):
            with dump.create("uptime.txt") as file:
                file.write(Path("/proc/uptime").read_bytes())

published by its distribution as an entry point in the group ``gencore.collectors`` under the same
name. docs/how-to/write-a-collector.md walks through a working one.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import BinaryIO, ClassVar, Protocol

import attrs

from gencore.core_stream import CoreStream
from gencore.huge_pages import HugePages
from gencore.libraries import Library
from gencore.output import ArtifactWriter
from gencore.process import MappedFile, ObservedProcess, ThreadRecord
from gencore.report import Artifact, Failed, Pause, Skipped, Stage
from gencore.request import DumpRequest
from gencore.target import ProcessFacts

__all__ = ["Collector", "CoreSink", "DumpInProgress", "FinishedArtifacts", "PackedFile", "Packing"]


@attrs.frozen(kw_only=True)
class PackedFile:
    """One file that a collector with `packs` brings along itself."""

    name: str
    """Its path in the packed file."""
    media_type: str
    """As in RFC 6838: ``application/x-sharedlib``."""
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    tree_sha256: str | None = None
    """The Merkle tree hash (RFC 9162, 2.1.1) over its blocks of 1 MiB, hexadecimal."""


@attrs.frozen(kw_only=True)
class Packing:
    """What a collector with `packs` will make, as the manifest repeats it."""

    compression: str | None
    """The codec: ``gzip``, ``zstd``; None if the files are stored."""
    level: int | None = None
    core: str | None
    """The core's path in the packed file; None if it is not in it."""
    files: tuple[PackedFile, ...]
    """Everything but the artefacts of other collectors, the core included."""


class FinishedArtifacts(Protocol):
    """The artefacts that the collectors before this one have finished."""

    def open(self, name: str) -> BinaryIO:
        """Open one of them for reading. Raises OSError."""


class DumpInProgress(ABC):
    """One dump as one of its collectors sees it, after the pause. Nothing of it can be changed."""

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
    packed: bool
    """Whether a collector with `packs` takes part, so that artefacts end up inside its file."""
    packing: Packing | None
    """What that collector says it will make; None if it does not say, or there is none."""
    trace: tuple[str, str] | None
    """OpenTelemetry's trace ID and span ID, in hexadecimal, that were current for the caller."""
    facts: ProcessFacts | None
    """What the process says of itself; None if it has no Python, or could not be asked."""
    observed_before: float
    """How many seconds before the instant collectors observed, and Python stacks were taken."""
    pause: Pause
    huge_pages: HugePages | None
    """What was collapsed before the pause; None if nobody has asked for that."""
    threads: tuple[ThreadRecord, ...]
    mapped_files: tuple[MappedFile, ...]
    """Every file that was mapped at the instant, the executable first, each path once."""
    python_files: tuple[str, ...]
    """The names of the files on the Python stacks, as code objects have them; empty unless
    `DumpRequest.sources`."""
    core: CoreStream | None
    """The core; None if it failed."""
    core_sha256: str | None
    """Of the whole core; known in `finish`, if any collector read the bytes. None if the only ones
    hash it in their own way."""
    artifacts: tuple[Artifact, ...]
    """What the collectors before this one have finished, and what is to be packed."""
    output: FinishedArtifacts
    """Where these can be read."""
    stages: tuple[Stage, ...]
    """The stages that have ended so far."""
    skipped: tuple[Skipped, ...]
    failed: tuple[Failed, ...]
    tolerated: tuple[Failed, ...]
    """Failures of optional collectors: each is a warning, unless nothing at all is saved."""
    warnings: tuple[str, ...]

    @property
    @abstractmethod
    def libraries(self) -> tuple[Library, ...]:
        """The facts of each mapped file. Reads them all, at the first use."""

    @property
    @abstractmethod
    def sources(self) -> tuple[Library, ...]:
        """The facts of each Python file that goes into a bundle. Reads them, at the first use."""

    @abstractmethod
    def create(self, name: str) -> ArtifactWriter:
        """Create the file of an artefact, to be written and closed.

        *name* is what follows the dump's own name: printable text of at most 200 bytes without
        ``/``. What was created by the time that `Collector.finish` returns is what the collector
        has made: the framework measures and hashes it. Raises `ValueError`, also for a name that
        is taken or reserved, and OSError.
        """

    @abstractmethod
    def take_core(self, name: str) -> None:
        """Make the core, which the backend has as a file (`CoreStream.file`), an artefact."""

    @abstractmethod
    def skip(self, part: str, reason: str) -> None:
        """Put into the report that *part* was left out; the dump becomes ``partial``."""


class CoreSink(ABC):
    """Takes the bytes of a core, in file order; that of another distribution on its own thread."""

    hashes: bool = False
    """Whether it hashes what it is given, and `sha256` has that: nobody else need do it."""
    sha256: str | None = None
    """Of all that it was given so far, in hexadecimal, if it `hashes` that. Believed of gencore's
    own sinks only."""

    def room(self) -> memoryview | None:
        """Return where the next bytes may be put that `write` is given; None: anywhere.

        So that it need not copy them. Only gencore's own sinks are asked. Default: None.
        """
        return None

    @abstractmethod
    def write(self, chunk: memoryview) -> None:
        """Take the next bytes. *chunk* is read-only, and valid only during the call."""

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
    """The version of this contract that the collector was written for; now (1, 1)."""
    packs: ClassVar[bool] = False
    """Whether it finishes after the others and takes their artefacts into its own. A dump has at
    most one such collector."""
    keeps_core: ClassVar[bool] = False
    """Whether it publishes the core as a file: a backend that can then writes one at once. Its
    artefacts are not packed, but published beside the packed file."""
    hashes_core: ClassVar[bool] = False
    """Whether it hashes the core's bytes in a way of its own, so that nobody else need do it."""
    time_limit: ClassVar[float | None] = 60.0
    """Seconds that all its calls after the pause may take in one dump; a pipeline may say
    otherwise. Then it is left behind and reported as failed, and the dump goes on. None: as long
    as the dump takes, for a collector whose work grows with the core."""
    reserves: ClassVar[tuple[str, ...]] = ()
    """Names of artefacts that no other collector of a dump can make. Any other name is whose
    `DumpInProgress.create` takes it first. gencore's own collectors come before all others."""
    makes_files: ClassVar[bool] = True
    """Whether it makes files: the output directory is then checked before the pause. Where no
    collector does, and the backend needs none, no directory is touched."""

    def check(self) -> None:  # noqa: B027 - nothing to check is the default, not an omission
        """Raise what is wrong with options, credentials, recipients. Default: nothing is.

        Called before the pause of each dump, by `Pipeline.check` and by ``gencore doctor``; for
        five seconds at most. A dump goes on without the collector, or is refused if the pipeline
        says ``required="before"``. Must leave nothing behind.
        """

    def observe(self, process: ObservedProcess) -> None:  # noqa: B027
        """Note what only the live process knows. Called just before the pause. Default: nothing.

        Must be quick and bounded; must not import, wait, or open files. On a thread of its own,
        with the caller's context variables; after a second the dump goes on without the collector.
        (Those of gencore itself are called inside the pause, on the caller's thread.) Not called
        in a dump of another process.
        """

    def begin(self, dump: DumpInProgress) -> CoreSink | None:  # noqa: ARG002
        """Return a sink to be given the core's bytes. Default: None, they are not wanted.

        Called after the pause, once the core's size is known; not called if the core failed.
        """
        return None

    def packing(self, dump: DumpInProgress) -> Packing | None:  # noqa: ARG002
        """State what it will make, if it `packs`, for the manifest to repeat.

        Called before any collector finishes. Default: None, nothing is known of it.
        """
        return None

    @abstractmethod
    def finish(self, dump: DumpInProgress) -> Iterable[Artifact] | None:
        """Make the artefacts, through `DumpInProgress.create`.

        Called after the core's last byte. If the core failed, ``dump.core`` is None: a collector
        that is of no use without it makes nothing.

        What it returns may name its artefacts once more, and is compared with what they are; an
        `Artifact` that was ``streamed`` has no file, and is reported as it is.
        """

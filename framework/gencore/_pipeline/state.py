"""What is known of a dump so far: written by the pipeline alone, shown to collectors as it is."""

import math
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property

import attrs

from gencore._known_hashes import KnownHashes
from gencore._pipeline.earlier_dumps import EarlierDumps
from gencore._pipeline.stores import Stores
from gencore._python_sources import describe_sources
from gencore.collector import Packing
from gencore.core_stream import CoreStream
from gencore.huge_pages import HugePages
from gencore.libraries import Library, describe
from gencore.output import Output
from gencore.process import MappedFile, ThreadRecord
from gencore.report import Artifact, Failed, Pause, Skipped, Stage
from gencore.request import DumpRequest
from gencore.target import ProcessFacts

__all__ = ["DumpState"]


@attrs.define(kw_only=True, slots=False, eq=False)
class DumpState:
    """One dump. `DumpInProgress` has the same names, and says what they mean."""

    name: str
    id: str
    created_at: datetime
    request: DumpRequest
    backend: str
    method: str
    plugins: tuple[Mapping[str, object], ...]
    output: Output
    """The private directory."""
    stores: Stores
    earlier: EarlierDumps
    end_by: float = math.inf
    """When its time is over, by `time.monotonic`."""
    packed: bool = False
    packing: Packing | None = None
    trace: tuple[str, str] | None = None
    facts: ProcessFacts | None = None
    recorder_reason: str | None = None
    call_seconds: float | None = None
    observed_before: float = 0.0
    paused_at: datetime | None = None
    huge_pages: HugePages | None = None
    pause: Pause = attrs.field(factory=lambda: Pause(total=0.0))
    threads: tuple[ThreadRecord, ...] = ()
    mapped_files: tuple[MappedFile, ...] = ()
    python_files: tuple[str, ...] = ()
    core: CoreStream | None = None
    core_sha256: str | None = None
    artifacts: list[Artifact] = attrs.field(factory=list)
    stages: list[Stage] = attrs.field(factory=list)
    skipped: list[Skipped] = attrs.field(factory=list)
    failed: list[Failed] = attrs.field(factory=list)
    tolerated: list[Failed] = attrs.field(factory=list)
    warnings: list[str] = attrs.field(factory=list)

    @cached_property
    def libraries(self) -> tuple[Library, ...]:
        """The facts of each mapped file. Reads them all, at the first use."""
        with KnownHashes() as hashes:
            return tuple(describe(file, self.request, hashes) for file in self.mapped_files)

    @cached_property
    def sources(self) -> tuple[Library, ...]:
        """The facts of each Python file that goes into a bundle. Reads them, at the first use."""
        return describe_sources(self.python_files, self.mapped_files) if self.python_files else ()

    def skip(self, part: str, reason: str) -> None:
        """Note that *part* is left out; the dump becomes ``partial``."""
        self.skipped.append(Skipped(part, reason))

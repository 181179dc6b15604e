"""The contract between the framework and a backend: how one platform takes a core.

A complete backend::

    class MyBackend(Backend):
        name = "my-backend"
        priority = 50
        api_version = (1, 1)

        def probe(self, request):
            if sys.platform != "plan9":
                return Verdict.no(Reason("this is not Plan 9", remedy="run it there"))
            return Verdict.yes(core_size=1 << 20)

        def snapshot(self, request, output, *, to_file):
            return MySnapshot(...)

published by its distribution as an entry point in the group ``gencore.backends`` under the same
name. docs/how-to/write-a-backend.md walks through a working one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import ClassVar

from gencore.core_stream import CoreStream
from gencore.huge_pages import HugePages
from gencore.output import Output
from gencore.process import MappedFile, ThreadRecord
from gencore.request import DumpRequest
from gencore.target import ProcessFacts
from gencore.verdict import Verdict

__all__ = ["Backend", "Snapshot"]


class Snapshot(AbstractContextManager["Snapshot"]):
    """A process image that was taken, and the core that comes out of it.

    Made inside the pause by `Backend.snapshot`; everything else is called after it, on the dump's
    worker thread, but for `abort` and `written`. Leaving the context ends it: no child, no
    descriptor and no temporary file is left.
    """

    phases: Mapping[str, float]
    """The parts of the pause that the backend measured, in seconds."""

    def pause_ended(self) -> None:
        """Begin with what had to wait: the process runs on. Called first; default: nothing."""

    @property
    @abstractmethod
    def threads(self) -> tuple[ThreadRecord, ...]:
        """Every thread of the process at the instant, the calling one first."""

    @abstractmethod
    def core(self) -> CoreStream:
        """Return the core's stream. May block until there is one. Called once.

        Raises `CoreFailed`.
        """

    @abstractmethod
    def abort(self) -> None:
        """End a blocking `core` or its stream early, with `CoreFailed`. Called from any thread."""

    @abstractmethod
    def close(self) -> None:
        """Release everything. Called once, also after `abort`."""

    @property
    def written(self) -> int:
        """Bytes of the core that exist so far, for progress. Called from any thread; default 0."""
        return 0

    @property
    def gaps(self) -> Mapping[str, str]:
        """What the core should hold and does not: part and reason. Default: nothing.

        Asked for after `CoreStream.wait`. Each makes the dump ``partial``.
        """
        return {}

    @property
    def pause(self) -> float | None:
        """Seconds from the first thread stopped to the last released, where that was measured.

        None, the default: as long as `Backend.snapshot` took.
        """
        return None

    @property
    def excluded(self) -> tuple[tuple[int, int], ...]:
        """The memory that another process keeps out of its cores, as (start, end) in order."""
        return ()

    @property
    def facts(self) -> ProcessFacts | None:
        """What another process says of itself. Default: None, nothing is known."""
        return None

    @property
    def huge_pages(self) -> HugePages | None:
        """What another process has collapsed, because `DumpRequest.huge_pages`. Default: None."""
        return None

    def mapped_files(self) -> tuple[MappedFile, ...]:
        """Return the files that were mapped, the executable first. Default: none are known."""
        return ()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the snapshot."""
        self.close()


class Backend(ABC):
    """Takes snapshots on one platform, in one way. One object serves one pipeline."""

    name: ClassVar[str]
    """The entry point's name: lower-case letters, digits and hyphens."""
    priority: ClassVar[int]
    """Where several backends work, the highest is taken. The built-in ones have 10 to 100."""
    api_version: ClassVar[tuple[int, int]]
    """The version of this contract that the backend was written for; now (1, 1)."""
    method: ClassVar[str] = ""
    """How its cores are made, for the manifest: ``kernel-core``, ``fork-elf``, ..."""

    dumps_others: ClassVar[bool] = False
    """Whether it dumps the other process that `DumpRequest.target` names, and never its own. One
    that does not is not asked about other processes."""

    takes_handover: ClassVar[bool] = False
    """Whether its `snapshot` can also run in a recorder: a process that the one to dump has
    started for that, and which gets the capture by `Target.handover`. Without, the dump is made
    inside the process itself."""

    only_by_name: ClassVar[bool] = False
    """Whether it is used only where somebody has named it, and is never chosen."""

    streams: ClassVar[bool] = False
    """Whether it makes no file of a core that no collector keeps as one: a bundle then needs less
    space."""

    @abstractmethod
    def probe(self, request: DumpRequest) -> Verdict:
        """Say whether `snapshot` would work now. Called before every dump, and by ``doctor``.

        Must have no side effect, and must work on every platform where the module imports. One
        that dumps others raises `gencore.TargetUnavailable` if the process has ended, or does not
        permit it.
        """

    @abstractmethod
    def snapshot(self, request: DumpRequest, output: Output, *, to_file: bool) -> Snapshot:
        """Take the image. This is the pause: the caller's whole process waits for it.

        *to_file*: whether some collector keeps the core as a file, so that it is better written
        to one in *output* than streamed. A backend that can only do one of the two does that.

        Called with the GIL held, one dump at a time. Must not import, and must not wait for
        anything but the image itself. Raises `CoreFailed`, having released everything.

        That of another distribution is called on a thread of the framework's, with the caller's
        context variables: `gencore.runtime.calling_thread` has asked for the dump. After the
        dump's timeout, or 60 seconds, it is left behind; a snapshot that comes later is closed.
        """

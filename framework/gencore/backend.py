"""The contract between the framework and a backend: how one platform takes a core.

A complete backend::

    class MyBackend(Backend):
        name = "my-backend"
        priority = 50
        api_version = (1, 0)

        def probe(self, request):
            if sys.platform != "plan9":
                return Verdict.no(Reason("this is not Plan 9", remedy="run it there"))
            return Verdict.yes(core_size=1 << 20)

        def snapshot(self, request, output, *, to_file):
            return MySnapshot(...)

published by its distribution as an entry point in the group ``gencore.backends`` under the same
name. docs/how-to/write-a-backend.md walks through a working one.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from copy import copy
from threading import TIMEOUT_MAX
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

import attrs

from gencore._runtime.application_errors import ignored, reraise_if_from_handler
from gencore._runtime.os_thread import Latch, Lock, open_descriptor, wait_for_descriptors
from gencore.annotations import check_annotations
from gencore.errors import UsageError

if TYPE_CHECKING:
    from gencore.output import Output

__all__ = [
    "CHUNK_SIZE",
    "Backend",
    "Content",
    "CoreStream",
    "DumpRequest",
    "FileCoreStream",
    "Latch",
    "Lock",
    "MappedFile",
    "Reason",
    "Snapshot",
    "ThreadRecord",
    "Threads",
    "Verdict",
    "ignored",
    "open_descriptor",
    "reraise_if_from_handler",
    "wait_for_descriptors",
]

CHUNK_SIZE: Final = 1 << 20
"""Bytes in one chunk of a core stream, at most."""

Threads = Literal["auto", "signal", "caller"]
Content = Literal["full", "private", "stacks", "triage"]


def _check_annotations(_: object, __: object, value: Mapping[str, str]) -> None:
    check_annotations(value)


def _check_choice(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    choices = {"threads": Threads, "content": Content}[attribute.name].__args__  # type: ignore[attr-defined]  # typeshed hides what get_args() would return here
    if value not in choices:
        raise UsageError(f"{attribute.name}={value!r} is not one of {', '.join(choices)}")


def is_time_limit(value: Any) -> bool:
    """Whether it is None, for no limit, or a number of seconds that can be waited for."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value is None or (is_number and 0 < value <= TIMEOUT_MAX)


def _check_timeout(_: object, __: object, value: Any) -> None:
    if not is_time_limit(value):
        raise UsageError(
            f"timeout={value!r} is not a positive number of seconds",
            remedy="leave it out to wait for ever",
        )


@attrs.frozen(kw_only=True)
class DumpRequest:
    """What one dump was asked to contain."""

    threads: Threads = attrs.field(default="auto", validator=_check_choice)
    """Whose registers: ``auto`` every thread's, without any of them noticing; ``signal`` those too
    that can only be stopped at the price of a longer timeout; ``caller`` the calling thread's."""
    content: Content = attrs.field(default="full", validator=_check_choice)
    """Which memory: ``full``; ``private``, without clean pages of files; ``stacks``, without heap,
    arguments and environment; or ``triage``, to be handed out: ``stacks`` without what lies beside
    the kept objects, and without arguments and environment in the manifest."""
    timeout: float | None = attrs.field(default=None, validator=_check_timeout)
    """Seconds until an unfinished dump is given up; None waits for ever."""
    annotations: Mapping[str, str] = attrs.field(factory=dict, validator=_check_annotations)
    """Free text for the manifest: 64 keys at most, 1,024 bytes each."""
    with_dontdump: bool = False
    """Whether to take in memory that was marked with MADV_DONTDUMP, see madvise(2)."""
    allow_undumpable: bool = False
    """Whether to dump a process that the kernel made "not dumpable" (prctl(2)), most often because
    it changed its user. While its core is written, other processes of the user can read the
    memory of the process's clone; the process itself stays as it is."""
    sources: bool = False
    """Whether a bundle takes in the Python files on the stacks, up to 16 MiB; see
    `gencore.sources`."""
    force: bool = False
    """Whether to go on where the estimate says that the artefacts will not fit on the disk."""
    excluded: tuple[tuple[int, int], ...] = ()
    """Memory to wipe in the image, as (start, end) in order; see `gencore.exclude`."""

    def without(self, ranges: tuple[tuple[int, int], ...]) -> Self:
        """Return the same request with *ranges* excluded. Checks nothing: it is for the pause."""
        changed = copy(self)
        object.__setattr__(changed, "excluded", ranges)
        return changed


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
    """What the backend looked at, for ``gencore doctor``."""

    @classmethod
    def yes(cls, *, core_size: int | None = None, facts: Mapping[str, str] | None = None) -> Self:
        """Say that the backend works here."""
        return cls(core_size=core_size, facts=facts or {})

    @classmethod
    def no(cls, *reasons: Reason, facts: Mapping[str, str] | None = None) -> Self:
        """Say that the backend does not work here, and why."""
        return cls(reasons=reasons, facts=facts or {})

    @property
    def ok(self) -> bool:
        """Whether the backend works here."""
        return not self.reasons


@attrs.frozen(kw_only=True)
class ThreadRecord:
    """One thread of the process at the instant, and how well the core knows it."""

    tid: int
    name: str
    registers: Literal["exact", "partial", "missing"]
    reason: str | None = None
    """Why the registers are not exact."""


@attrs.frozen(kw_only=True)
class MappedFile:
    """A file that was mapped into the process."""

    path: str
    """Absolute, as the process sees it. The kernel's " (deleted)" stays only where the file that
    took its place is mapped too."""
    deleted: bool = False
    """Whether that path no longer leads to the mapped file: it was removed or replaced."""
    read_from: str | None = None
    """Where its bytes can be read if not at `path`: in /proc/self/map_files, for instance."""
    aliases: tuple[str, ...] | None = None
    """Other absolute paths under which the dynamic linker knows it; None if they are unknown."""
    data: tuple[tuple[int, int], ...] = ()
    """Where it is mapped, as (start, end), if it is mapped as data only; nowhere if some of it is
    code."""
    dontdump: bool = False
    """Whether some of `data` was marked with MADV_DONTDUMP, see madvise(2)."""


class CoreStream(ABC):
    """The bytes of one core, in file order, to be read once."""

    file: str | None = None
    """The core's name in the output's private directory, if it is a file there."""
    incomplete: str | None = None
    """Why the core is not whole; known after `wait`."""
    missing: int = 0
    """Bytes that are promised and not there, at the end; known after `wait`."""
    warnings: tuple[str, ...] = ()
    """What the core does not hold although it is as long as promised; known after `wait`."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes that the core's program headers promise."""

    @abstractmethod
    def __iter__(self) -> Iterator[memoryview]:
        """Yield chunks of at most `CHUNK_SIZE` bytes, each valid until the next one is taken.

        May begin while the core is still being written. Ends early where the rest is missing.
        Raises `CoreFailed` where there is no core.
        """

    def wait(self) -> None:  # noqa: B027 - a core that is there already needs no waiting
        """Block until the core is written, and check it. Default: it is there already.

        Called once: after the last chunk, or instead of reading where nobody wants the bytes.
        Raises `CoreFailed`.
        """


class FileCoreStream(CoreStream):
    """A core that the backend has as a file in the output's private directory."""

    def __init__(self, output: "Output", file: str, incomplete: str | None = None) -> None:
        self.file: str = file
        self.incomplete = incomplete
        self._output = output
        self._size = os.stat(file, dir_fd=output.fd, follow_symlinks=False).st_size

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._size

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the file's bytes."""
        chunk = memoryview(bytearray(CHUNK_SIZE))
        with self._output.open(self.file) as core:
            while length := core.readinto(chunk):
                yield chunk[:length]


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
    """The version of this contract that the backend was written for; now (1, 0)."""
    method: ClassVar[str] = ""
    """How its cores are made, for the manifest: ``kernel-core``, ``fork-elf``, ..."""

    streams: ClassVar[bool] = False
    """Whether it makes no file of a core that no collector keeps as one: a bundle then needs less
    space."""

    @abstractmethod
    def probe(self, request: DumpRequest) -> Verdict:
        """Say whether `snapshot` would work now. Called before every dump, and by ``doctor``.

        Must have no side effect, and must work on every platform where the module imports.
        """

    @abstractmethod
    def snapshot(self, request: DumpRequest, output: "Output", *, to_file: bool) -> Snapshot:
        """Take the image. This is the pause: the caller's whole process waits for it.

        *to_file*: whether some collector keeps the core as a file, so that it is better written
        to one in *output* than streamed. A backend that can only do one of the two does that.

        Called with the GIL held, one dump at a time. Must not import, and must not wait for
        anything but the image itself. Raises `CoreFailed`, having released everything.
        """

"""The backend ``sidecar``: the core comes from another process, over a Unix socket."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Final

from gencore import (
    Backend,
    CoreFailed,
    CoreStream,
    DumpRequest,
    Reason,
    Snapshot,
    ThreadRecord,
    Verdict,
)
from gencore.core_stream import CHUNK_SIZE
from gencore.output import Output
from gencore.runtime import calling_thread
from gencore_sidecar.protocol import Answer, NotDone

__all__ = ["Sidecar"]

_PROBE_TIMEOUT: Final = 1.0
_START: Final = (
    "start 'python -m gencore_sidecar.server --socket PATH', and set GENCORE_SIDECAR=PATH"
)


class Sidecar(Backend):
    """Asks the sidecar at *path*, or ``GENCORE_SIDECAR``, to run gcore on this process.

    Args:
        path: The sidecar's socket.
        timeout: Seconds without a word from the sidecar until it is given up.
    """

    name = "sidecar"
    priority = 15  # below all that does not stop the process for as long as the core takes
    api_version = (1, 1)
    method = "gcore"

    def __init__(self, path: str | None = None, *, timeout: float = 120.0) -> None:
        self._path = path or os.environ.get("GENCORE_SIDECAR", "")
        self._timeout = timeout

    def probe(self, request: DumpRequest) -> Verdict:
        """Ask the sidecar whether it could make a core."""
        if sys.platform != "linux":
            return Verdict.no(Reason(f"this is {sys.platform}, not Linux"))
        if not self._path:
            return Verdict.no(Reason("GENCORE_SIDECAR is not set", _START))
        if request.content != "full":
            return Verdict.no(Reason("gcore writes only full cores", "pass content='full'"))
        try:
            Answer(self._path, "probe", _PROBE_TIMEOUT).close()
        except (OSError, NotDone) as error:
            return Verdict.no(Reason(f"no sidecar at {self._path}: {error}", _START))
        return Verdict.yes(facts={"sidecar": self._path})

    def snapshot(self, request: DumpRequest, output: Output, *, to_file: bool) -> Snapshot:  # noqa: ARG002 - it always streams
        """Wait until gcore has written the core: that is the pause."""
        if request.excluded:
            remedy = "use another backend, or release the excluded memory"
            raise CoreFailed("sidecar", detail="gcore cannot exclude memory", remedy=remedy)
        before, begin = _tids(), time.perf_counter()
        try:
            answer = Answer(self._path, "dump", self._timeout)
        except (OSError, NotDone) as error:
            raise CoreFailed("sidecar", detail=str(error)) from error
        phases = {"gcore": time.perf_counter() - begin}
        return _SidecarSnapshot(answer, phases, before, _tids())


def _tids() -> set[int]:
    return set(map(int, os.listdir("/proc/self/task")))


class _SidecarSnapshot(Snapshot):
    """A core that is being received."""

    def __init__(
        self, answer: Answer, phases: dict[str, float], before: set[int], after: set[int]
    ) -> None:
        self.phases = phases
        self._answer = answer
        self._core = _SidecarCore(answer)
        me = calling_thread()
        tids = sorted(before | after, key=lambda tid: (tid != me, tid))
        self._threads = tuple(_record(tid, sure=tid in before & after) for tid in tids)

    @property
    def threads(self) -> tuple[ThreadRecord, ...]:
        return self._threads

    def core(self) -> CoreStream:
        return self._core

    def abort(self) -> None:
        self._core.given_up = True
        with contextlib.suppress(OSError):  # closed already, by either side
            self._answer.give_up()

    def close(self) -> None:
        self._answer.close()


def _record(tid: int, *, sure: bool) -> ThreadRecord:
    if sure:
        return ThreadRecord(tid=tid, name="", registers="exact")
    reason = "it started or ended while gcore ran"
    return ThreadRecord(tid=tid, name="", registers="missing", reason=reason)


class _SidecarCore(CoreStream):
    """Reads the socket. Sets `incomplete` where the sidecar ends early."""

    def __init__(self, answer: Answer) -> None:
        self.given_up = False
        self._answer = answer

    @property
    def size(self) -> int:
        return self._answer.size

    def __iter__(self) -> Iterator[memoryview]:
        chunk = memoryview(bytearray(CHUNK_SIZE))
        self.missing = self.size
        while length := self._read_into(chunk[: self.missing]):
            self.missing -= length
            yield chunk[:length]
        if self.missing:
            done = self.size - self.missing
            self.incomplete = f"the sidecar exited after {done:,} of {self.size:,} bytes"

    def _read_into(self, buffer: memoryview) -> int:
        try:
            length = self._answer.read_into(buffer)
        except OSError as error:
            raise CoreFailed("sidecar", error.errno or 0, "reading the core") from error
        if self.given_up:
            raise CoreFailed("sidecar", detail="the dump was aborted")
        return length

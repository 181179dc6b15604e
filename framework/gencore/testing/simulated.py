"""A backend that makes a small, valid core on any platform: for tests of collectors."""

import os
import struct
from collections.abc import Iterator, Mapping
from typing import Final

from gencore.backend import Backend, Snapshot
from gencore.core_stream import CoreStream
from gencore.errors import CoreFailed
from gencore.output import Output
from gencore.process import ThreadRecord
from gencore.request import DumpRequest
from gencore.runtime import calling_thread
from gencore.verdict import Verdict

__all__ = ["SimulatedBackend", "simulated_core"]

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")
_NOTE: Final = struct.Struct("<III")
_ET_CORE, _EM_X86_64, _PT_LOAD, _PT_NOTE = 4, 62, 1, 4
_IDENT: Final = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
_PRSTATUS_SIZE, _PR_PID_AT = 336, 32
_PRPSINFO_SIZE, _PSINFO_PID_AT = 136, 24
_PAGE: Final = 4096
_ADDRESS: Final = 0x10000


def simulated_core(pid: int, tid: int, memory: bytes) -> bytes:
    """Return an ELF core of one thread and one mapping that holds *memory*.

    Its layout is that of a 64-bit Linux core on x86-64, see elf(5) and core(5); the registers are
    zeros.
    """
    notes = b"".join(
        (
            _note(1, _with_number(_PRSTATUS_SIZE, _PR_PID_AT, tid)),
            _note(3, _with_number(_PRPSINFO_SIZE, _PSINFO_PID_AT, pid)),
            _note(6, bytes(16)),  # NT_AUXV: AT_NULL
            _note(0x46494C45, struct.pack("<QQ", 0, _PAGE)),  # NT_FILE: no row
        )
    )
    begin = _HEADER.size + 2 * _PROGRAM_HEADER.size
    data_at = -(-(begin + len(notes)) // _PAGE) * _PAGE
    size = len(memory)
    headers = (
        _HEADER.pack(
            *(_IDENT, _ET_CORE, _EM_X86_64, 1, 0, _HEADER.size, 0, 0, _HEADER.size),
            *(_PROGRAM_HEADER.size, 2, 0, 0, 0),
        ),
        _PROGRAM_HEADER.pack(_PT_NOTE, 0, begin, 0, 0, len(notes), 0, 4),
        _PROGRAM_HEADER.pack(_PT_LOAD, 6, data_at, _ADDRESS, 0, size, size, _PAGE),
    )
    return (b"".join(headers) + notes).ljust(data_at, b"\0") + memory


def _note(kind: int, data: bytes) -> bytes:
    name = b"CORE\0"
    return _NOTE.pack(len(name), len(data), kind) + name.ljust(8, b"\0") + data


def _with_number(size: int, at: int, number: int) -> bytes:
    record = bytearray(size)
    struct.pack_into("<i", record, at, number)
    return bytes(record)


class SimulatedBackend(Backend):
    """Takes no image: its core has one thread and whatever memory it is given.

    Args:
        memory: What the core's one mapping holds.
        chunk_size: Bytes in each chunk of the stream.
        failure: What reading the core raises, or None for a core that is whole.
    """

    name = "simulated"
    priority = 1
    api_version = (1, 0)
    method = "simulated"
    streams = True

    def __init__(
        self,
        memory: bytes = bytes(_PAGE),
        *,
        chunk_size: int = 1000,
        failure: CoreFailed | None = None,
    ) -> None:
        self._memory = memory
        self._chunk_size = chunk_size
        self._failure = failure

    def probe(self, request: DumpRequest) -> Verdict:  # noqa: ARG002
        """Say yes."""
        return Verdict.yes()

    def snapshot(
        self,
        request: DumpRequest,  # noqa: ARG002
        output: Output,  # noqa: ARG002
        *,
        to_file: bool,  # noqa: ARG002 - it always streams
    ) -> Snapshot:
        """Make the core, in memory."""
        core = simulated_core(os.getpid(), calling_thread(), self._memory)
        return _Snapshot(_Stream(core, self._chunk_size, self._failure))


class _Stream(CoreStream):
    def __init__(self, core: bytes, chunk_size: int, failure: CoreFailed | None) -> None:
        self._core = memoryview(core)
        self._chunk_size = chunk_size
        self.failure = failure

    @property
    def size(self) -> int:
        return len(self._core)

    def __iter__(self) -> Iterator[memoryview]:
        for start in range(0, self.size, self._chunk_size):
            if self.failure is not None:
                raise self.failure
            yield self._core[start : start + self._chunk_size]


class _Snapshot(Snapshot):
    phases: Mapping[str, float] = {}

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self._thread = ThreadRecord(
            tid=calling_thread(),
            name="simulated",
            registers="partial",
            reason="zeros: no image was taken",
        )

    @property
    def threads(self) -> tuple[ThreadRecord, ...]:
        return (self._thread,)

    def core(self) -> CoreStream:
        if self._stream.failure is not None:
            raise self._stream.failure
        return self._stream

    def abort(self) -> None:
        self._stream.failure = CoreFailed("simulated", detail="the dump was given up")

    def close(self) -> None:
        pass

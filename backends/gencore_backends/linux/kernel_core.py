"""A core that the kernel writes: given the notes of the whole process, and read while it grows.

The kernel's own notes describe the clone that died, and its one thread. The clone has left a file
with the notes of the process and all its threads, which is appended to the core; the program
header of the notes, the first one that ``fs/binfmt_elf.c`` writes, is changed to point there.
"""

import os
import struct
from collections.abc import Iterator
from typing import Final

from gencore import CoreFailed
from gencore.corefile import CoreFile
from gencore.output import Output
from gencore.runtime import open_descriptor
from gencore_backends.linux.child import Child
from gencore_backends.linux.growing_file import GrowingFile

__all__ = ["NOTES", "KernelCore"]

NOTES: Final = "notes"
"""The name of the file that the clone leaves beside the core."""
_ELF_HEADER_SIZE: Final = 64
_NOTE_POSITION: Final = struct.Struct("=Q16xQ")
"""p_offset, p_vaddr, p_paddr, p_filesz of an Elf64_Phdr, 8 bytes into it; see elf(5)."""
_NOTE_POSITION_AT: Final = _ELF_HEADER_SIZE + 8


class KernelCore(GrowingFile):
    """The file *name* in *output*, written by *child*'s death."""

    def __init__(self, output: Output, name: str, child: Child) -> None:
        super().__init__(output, name, child)
        with output.open(NOTES) as file:
            self._notes = file.readall()
        self._await_head()
        self._own_position = self._point_at(self._notes_at, len(self._notes))

    @property
    def size(self) -> int:
        """Bytes of the kernel's core, padding, and the notes."""
        return self._notes_at + len(self._notes)

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the kernel's bytes, then the notes."""
        length = 0
        for chunk in super().__iter__():
            length += len(chunk)
            yield chunk
        if length == self._kernel_size:
            yield memoryview(bytes(self._notes_at - length) + self._notes)

    def _end(self) -> None:
        self._child.wait_for_core()
        if self._written() == self._kernel_size:
            self._write(self._notes, self._notes_at)
        else:  # better the kernel's few notes than none
            self._point_at(*self._own_position)

    def _await_head(self) -> None:
        """Wait until everything before the memory is written: the kernel does not go back."""
        need = os.sysconf("SC_PAGE_SIZE")
        while self._await(need) >= need:
            with self._output.open(self.file) as file, CoreFile(file) as core:
                if core.counts_at_end and not self._child.ended(0):
                    self._child.ended(None)  # the last bytes count the headers
                    continue
                if need < core.end_of_headers:
                    need = core.end_of_headers
                elif need < core.end_of_notes:
                    need = core.end_of_notes
                else:
                    self._kernel_size = core.promised_size
                    self._notes_at = (self._kernel_size + 7) & ~7
                    return
        self._child.wait_for_core()
        raise CoreFailed("kernel-dump", detail=f"only {self._written():,} bytes were written")

    def _point_at(self, offset: int, size: int) -> tuple[int, int]:
        """Set the position of the notes; return the previous one."""
        with self._output.open(self.file) as core:
            before = os.pread(core.fileno(), _NOTE_POSITION.size, _NOTE_POSITION_AT)
        self._write(_NOTE_POSITION.pack(offset, size), _NOTE_POSITION_AT)
        old_offset, old_size = _NOTE_POSITION.unpack(before)
        return old_offset, old_size

    def _write(self, data: bytes, offset: int) -> None:
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = open_descriptor(self.file, flags, dir_fd=self._output.fd)
        try:
            os.pwrite(fd, data, offset)
        finally:
            os.close(fd)

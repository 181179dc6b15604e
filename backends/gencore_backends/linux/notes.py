"""Makes the notes of a kernel-written core speak of the process, not of the clone that died.

Layouts: ``struct elf_prstatus``, ``struct elf_prpsinfo`` and ``siginfo_t`` of a 64-bit kernel
(``include/linux/elfcore.h``, ``include/uapi/asm-generic/siginfo.h``).
"""

import os
import struct
from typing import Final

from gencore.corefile import NT_PRPSINFO, NT_PRSTATUS, NT_SIGINFO, CoreFile, Note

__all__ = ["speak_of_parent"]

_IDS: Final = struct.Struct("4i")  # pid, ppid, pgrp, sid stand together in both structures
_PRSTATUS_SIGNAL: Final = 0, struct.Struct("3ih")  # si_signo, si_code, si_errno, pr_cursig
_PRSTATUS_IDS: Final = 32
_PRPSINFO_STATE: Final = 0, struct.Struct("bcb")
_PRPSINFO_IDS: Final = 24


def speak_of_parent(core: CoreFile, core_fd: int, tid: int) -> None:
    """Put the parent's ids in place of the child's, and "no signal" in place of SIGSEGV.

    The one NT_PRSTATUS becomes that of thread *tid*, so that readers match it with the thread
    that the interpreter knows. Without a signal a debugger does not speak of a crash.
    """
    for note in core.notes:
        for offset, data in _corrections(note, tid):
            os.pwrite(core_fd, data, note.offset + offset)


def _corrections(note: Note, tid: int) -> list[tuple[int, bytes]]:
    ids = (os.getppid(), os.getpgrp(), os.getsid(0))
    if note.type == NT_PRSTATUS:
        offset, layout = _PRSTATUS_SIGNAL
        return [(offset, layout.pack(0, 0, 0, 0)), (_PRSTATUS_IDS, _IDS.pack(tid, *ids))]
    if note.type == NT_PRPSINFO:
        offset, layout = _PRPSINFO_STATE
        running = layout.pack(0, b"R", 0)  # the child was a zombie-to-be
        return [(offset, running), (_PRPSINFO_IDS, _IDS.pack(os.getpid(), *ids))]
    if note.type == NT_SIGINFO:
        return [(0, bytes(len(note.data)))]
    return []

"""seccomp: refuses the system calls that the control of files does not cover.

Landlock says which files may be opened. It does not cover sockets of datagrams and of paths (a
session bus starts programs), nor the mode, owner and times of files, nor a terminal's input queue,
nor System V IPC, nor the limits and priorities of other processes.
"""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterator, Mapping
from typing import Final

from gencore._confinement.system_calls import call

__all__ = ["refuse_calls"]

_SET_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, JGE, RET
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_NUMBER, _ARCHITECTURE = 0, 4
"""Where struct seccomp_data has them."""
_FIRST_ARGUMENT: Final = 16 if sys.byteorder == "little" else 20
_SECOND_ARGUMENT: Final = _FIRST_ARGUMENT + 8
_IOCTL: Final = (16, 29)
_PRLIMIT: Final = (302, 261)
"""Of other processes it is refused: a limit of CPU time kills them. 0 is the calling one."""
_X32: Final = 0x40000000
"""Another table of calls on x86-64, from this number on."""
_FULL_WORD: Final = 1 << 32
"""A 32-bit program has other numbers on the same machine."""
_PUSH_INPUT, _CONSOLE = 0x5412, 0x541C
"""TIOCSTI and TIOCLINUX: what they type, the user's shell executes."""

_CALLS: Final[Mapping[str, tuple[int, int | None]]] = {  # x86-64; newer architectures
    "socket": (41, 198),
    "io_uring_setup": (425, 425),  # makes sockets too
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "truncate": (76, 45),  # Landlock covers it from version 3
    "open_by_handle_at": (304, 265),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "unshare": (272, 97),
    "setns": (308, 268),
    "shmget": (29, 194),  # memory and locks of the user's other programs
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "setpgid": (109, 154),  # what leaves the session or the group is not ended with it
    "setsid": (112, 157),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "capset": (126, 91),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
}
"""What no reader of cores needs, by the numbers in unistd.h."""
_ARCHITECTURES: Final[Mapping[str, tuple[int, int]]] = {
    "x86_64": (0xC000003E, 0),
    "aarch64": (0xC00000B7, 1),
    "riscv64": (0xC00000F3, 1),
}
"""Each with its AUDIT_ARCH_*, and its column of the table."""


def refuse_calls() -> None:
    """Let the refused calls fail with EPERM from here on, for children too.

    Raises OSError if this kernel or machine cannot.
    """
    name = os.uname().machine
    if name not in _ARCHITECTURES or sys.maxsize < _FULL_WORD:
        raise OSError(errno.ENOSYS, f"the system calls of {name} are unknown")
    code = list(_program(*_ARCHITECTURES[name]))
    instructions = (ctypes.c_char * (8 * len(code))).from_buffer_copy(b"".join(code))
    program = struct.pack("@HP", len(code), ctypes.addressof(instructions))
    held = ctypes.create_string_buffer(program)
    call("prctl", _SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", _SET_SECCOMP, _FILTER, ctypes.addressof(held), 0, 0)


def _program(architecture: int, column: int) -> Iterator[bytes]:
    """Yield the instructions, of which a comparison may skip the next ones."""
    yield _instruction(_LOAD, _ARCHITECTURE)
    yield _instruction(_EQUAL, architecture, met=1)
    yield _instruction(_RETURN, _KILL)
    yield _instruction(_LOAD, _NUMBER)
    yield from _refused_if(_AT_LEAST, _X32)
    for numbers in _CALLS.values():
        if (number := numbers[column]) is not None:
            yield from _refused_if(_EQUAL, number)
    yield _instruction(_EQUAL, _PRLIMIT[column], otherwise=4)
    yield _instruction(_LOAD, _FIRST_ARGUMENT)
    yield _instruction(_EQUAL, 0, otherwise=1)
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_RETURN, _REFUSE)
    yield _instruction(_EQUAL, _IOCTL[column], met=1)
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_LOAD, _SECOND_ARGUMENT)
    yield from _refused_if(_EQUAL, _PUSH_INPUT)
    yield from _refused_if(_EQUAL, _CONSOLE)
    yield _instruction(_RETURN, _ALLOW)


def _refused_if(comparison: int, value: int) -> Iterator[bytes]:
    yield _instruction(comparison, value, otherwise=1)
    yield _instruction(_RETURN, _REFUSE)


def _instruction(code: int, value: int, *, met: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, met, otherwise, value)

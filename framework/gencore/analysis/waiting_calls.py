"""Names the system calls in which threads wait, by their numbers: Linux's asm/unistd_64.h."""

from typing import Final

__all__ = ["WAITING_CALLS"]

WAITING_CALLS: Final = {
    0: "read",
    1: "write",
    7: "poll",
    23: "select",
    34: "pause",
    35: "nanosleep",
    42: "connect",
    43: "accept",
    44: "sendto",
    45: "recvfrom",
    46: "sendmsg",
    47: "recvmsg",
    61: "wait4",
    72: "fcntl",
    73: "flock",
    74: "fsync",
    75: "fdatasync",
    128: "rt_sigtimedwait",
    130: "rt_sigsuspend",
    202: "futex",
    230: "clock_nanosleep",
    232: "epoll_wait",
    247: "waitid",
    270: "pselect6",
    271: "ppoll",
    281: "epoll_pwait",
    288: "accept4",
    299: "recvmmsg",
    441: "epoll_pwait2",
}
"""Of x86-64, the only machine of which the registers are read."""

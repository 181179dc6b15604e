"""CPython as the target of unnoticed_signals.c: its main thread is in a call, a signal ends it.

    unnoticed_service.py LIBRARY CALL SIGNALS CAPTURE

Needs the standard library only, since the user that it runs as may read nothing else.
"""

import ctypes
import os
import platform
import select
import signal
import sys
import threading
import time

X86_64 = platform.machine() == "x86_64"
SYSTEM_CALLS = {
    "sleep": 230 if X86_64 else 115,  # clock_nanosleep
    "poll": 7 if X86_64 else 73,  # poll; ppoll
    "lock": 202 if X86_64 else 98,  # futex
    "read": 0 if X86_64 else 63,  # read
}
"""The system call in which the main thread then is."""

WAIT_S = 3600


def main() -> None:
    """Wait in one kind of call for ever; the library ends the process."""
    library = ctypes.CDLL(sys.argv[1])
    call, count, capture = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    library.service_begin.restype = ctypes.POINTER(ctypes.c_int)
    handled = library.service_begin(count, ctypes.c_long(SYSTEM_CALLS[call]))

    def count_signal(_number: int, _frame: object) -> None:
        handled[0] += 1

    signal.signal(signal.SIGUSR1, count_signal)
    function = ctypes.cast(ctypes.pythonapi.PyErr_CheckSignals, ctypes.c_void_p)
    for _ in range(6):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    threading.Thread(
        target=library.service_capture, args=(function, ctypes.c_bool(bool(capture)))
    ).start()
    lock = threading.Lock()
    lock.acquire()
    calls = {
        "sleep": lambda: time.sleep(WAIT_S),
        "poll": select.poll().poll,
        "lock": lambda: lock.acquire(timeout=WAIT_S),
        "read": lambda: os.read(os.pipe()[0], 1),
    }
    calls[call]()


if __name__ == "__main__":
    main()

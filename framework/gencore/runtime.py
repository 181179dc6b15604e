"""Locks, waiting, threads, descriptors and errors of signal handlers, for plug-ins.

Those of the operating system, whatever gevent or eventlet has put in their place.
"""

from gencore._runtime.application_errors import ignored, reraise_if_from_handler
from gencore._runtime.calling_thread import calling_thread
from gencore._runtime.os_thread import Latch, Lock, open_descriptor, wait_for_descriptors

__all__ = [
    "Latch",
    "Lock",
    "calling_thread",
    "ignored",
    "open_descriptor",
    "reraise_if_from_handler",
    "wait_for_descriptors",
]

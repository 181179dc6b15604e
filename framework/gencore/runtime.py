"""Locks, waiting, threads, descriptors and errors of signal handlers, for plug-ins.

They are the operating system's, even if gevent or eventlet has patched the standard ones.
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

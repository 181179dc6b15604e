"""Starts a recorder, and lets it have the capture of this process.

Loads little: it may run in a process that is in trouble.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import attrs

from gencore._listeners.spans import trace_ids
from gencore._listeners.told import announcers_for
from gencore._pipeline.dump import Dump
from gencore._recorder.channel import Channel, Message, encode
from gencore._recorder.job import NoRecorder, describe
from gencore._recorder.program import LEFT_OUT, command_of, why_no_program
from gencore._recorder.recording import RecorderProcess, Recording
from gencore._runtime import standing
from gencore._runtime.application_errors import ignored, reraise_if_from_handler
from gencore._runtime.interpreter_facts import interpreter_facts
from gencore._runtime.lifetime import Stay, is_closed
from gencore._runtime.os_thread import settle
from gencore._runtime.platform_agent import agent
from gencore._settings.settings import Settings
from gencore._version import __version__
from gencore.arming import Capture, Program
from gencore.errors import GencoreError, Unsupported
from gencore.events import Listener
from gencore.huge_pages import HugePages
from gencore.naming import dump_id, dump_name
from gencore.process import ObservedProcess
from gencore.request import DumpRequest

__all__ = ["Plan", "check_by_recorder", "plan_of", "refuse", "start_by_recorder"]

_READY_LIMIT: Final = 60.0
"""Seconds that a recorder has to load everything, in a dump without a time limit."""
_GONE_LIMIT: Final = 5.0
"""Seconds that a recorder without a capture has to end."""

_PROGRAM: Final = (
    "import gc; gc.set_threshold(100_000); from gencore._recorder.process import main; main()"
)
"""Modules leave no garbage: looking for it after each 700 new objects would take 20 to 30 ms."""
_MALLOC: Final = [
    f"MALLOC_MMAP_THRESHOLD_={32 << 20}".encode(),
    f"MALLOC_TRIM_THRESHOLD_={64 << 20}".encode(),
]
"""glibc's, see mallopt(3): a recorder keeps the memory of each block for the next one. Otherwise
it goes back to the kernel, which clears it again. What the target sets itself goes first."""


@attrs.frozen
class Plan:
    """What all recorders of one pipeline have in common."""

    settings: Settings
    described: str
    """The settings as JSON."""
    backend: str | None = None
    """Its name, once a recorder has checked everything."""


def plan_of(settings: Settings) -> Plan:
    """Return what is known before any of them is started. Raises `NoRecorder`."""
    refuse(settings)
    return Plan(settings, describe(settings))


class _Recorder:
    """A recorder until it has its capture; ended if that does not come."""

    def __init__(self, plan: Plan, stay: Stay, *, check: bool = False) -> None:
        """Prepare what it is to do. Raises `NoRecorder` and OSError."""
        refuse(plan.settings)
        job = _job(plan, check=check)
        self.name, self.id = str(job["name"]), str(job["id"])
        self._ends: list[int] = []  # of its channel: ours and, until it has that, its own
        self._pidfd: list[int] = []
        self._channel = Channel()
        stay.in_child(self.close)
        with _no_recorder_if_refused():
            agent().open_channel(encode("job", job), self._ends)
        self._channel.own(self._ends[0])
        self._limit = plan.settings.request.timeout or _READY_LIMIT

    @property
    def _program(self) -> Program:
        return command_of(_PROGRAM), LEFT_OUT, _MALLOC, self._ends[1]

    @cached_property
    def process(self) -> RecorderProcess:
        """It as a process, until it is closed."""
        return RecorderProcess(self._channel, *self._pidfd or [-1])

    def start(self) -> None:
        """Start it. One that is not yet started is by the capture. Raises `NoRecorder`."""
        with _no_recorder_if_refused():
            agent().spawn(self._program, self._pidfd)
        self._close_its_end()

    def give_up(self) -> None:
        """Let it remove what it has made, and wait for that; kill it if it takes too long."""
        self._close_its_end()
        with ignored(OSError):
            self._channel.send("give up")  # the end of the channel may be a forked child's too
        if not self.process.ends_within(_GONE_LIMIT):
            self.process.kill()
        self.close()

    def close(self) -> None:
        """Let go of it. In a forked child too, whose it is not."""
        if self._ends:
            self._close_its_end()
            if self._channel.fileno() < 0:
                agent().close_last(self._ends)
            self._ends.clear()  # first, as a handler of a signal may raise: never closed twice
            self.process.let_go()

    def _close_its_end(self) -> None:
        while len(self._ends) > 1:
            agent().close_last(self._ends)

    def __del__(self) -> None:
        """Let go of it if nothing else could: Ctrl-C may arrive before it has an owner."""
        if "_channel" in vars(self):
            self.close()

    def expect(self, kind: str) -> Any:
        """Wait for a message of that kind; return its value.

        Raises `NoRecorder`, and the error that the recorder has met.
        """
        try:
            message = self.process.receive(self._limit)
        except TimeoutError as error:
            reraise_if_from_handler(error)
            raise NoRecorder(f"the recorder was not ready after {self._limit:g} s") from error
        if message is None:
            raise NoRecorder("the recorder ended before it was ready")
        _raise_what_it_says(message)
        if message.kind != kind:
            raise NoRecorder(f"the recorder sent {message.kind!r}")
        return message.value

    def hand_over(self, request: DumpRequest, huge_pages: HugePages | None) -> Capture:
        """Capture this process, and pass what leads to the capture to the recorder."""
        observed = ObservedProcess().python_threads()
        facts = {
            "argv": sys.orig_argv,
            "runtime": interpreter_facts(),
            "annotations": standing.annotations.copy(),
            "python_threads": [attrs.asdict(thread) for thread in observed],
            "observed_ns": time.monotonic_ns(),
            "huge_pages": huge_pages and attrs.asdict(huge_pages),
        }
        request = request.without(standing.excluded_ranges())
        text = json.dumps(facts).encode()
        recorder = self._pidfd[0] if self._pidfd else self._program
        capture = agent().hand_over(request, self._channel.fileno(), recorder, text)
        self._close_its_end()
        return capture


@contextmanager
def _no_recorder_if_refused() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reraise_if_from_handler(error)
        raise NoRecorder(f"no process can be started: {error.strerror}") from error


def _raise_what_it_says(message: Message) -> None:
    if message.kind == "unable":
        raise NoRecorder(message.value)
    if message.kind == "error":
        if isinstance(message.value, GencoreError):
            raise message.value
        raise NoRecorder(f"the recorder failed: {message.value!r}")


def start_by_recorder(plan: Plan, *, huge_pages: HugePages | None = None) -> Dump:
    """Take the instant, and return once a recorder makes a dump of it.

    If the backend is known, as that of a pipeline that was prepared is, the recorder is started by
    the clone: what it then refuses is in the report. Raises `NoRecorder`, and what
    `Pipeline.start` raises. *huge_pages*: what was collapsed before, for the report.
    """
    began = time.perf_counter()
    settings, backend = plan.settings, plan.backend
    stay = Stay()
    recorder: _Recorder | None = None
    capture: Capture | None = None
    recording: Recording | None = None
    try:
        recorder = _Recorder(plan, stay)
        if backend is None:
            recorder.start()
        request = settings.request
        if request.huge_pages:  # while the recorder loads what it needs
            huge_pages = agent().collapse_memory(request.timeout)
        if backend is None:
            ready = recorder.expect("ready")
            backend, request = ready["backend"], DumpRequest(**ready["wish"])
        settle()
        capture = recorder.hand_over(request, huge_pages)
        recording = Recording(
            recorder=recorder.process,
            capture=capture,
            name=recorder.name,
            id=recorder.id,
            backend=backend,
            call_seconds=time.perf_counter() - began,
            timeout=settings.request.timeout,
            stay=stay,
            announcers=announcers_for(recorder.name, _listeners_here(settings)),
            release=recorder.close,
        )
        return recording.start()
    except BaseException:  # Ctrl-C too
        if recording is None or recording.give_up():
            _undo(recorder, capture, stay)
        else:
            recording.stop(CancelledError())
        raise


def _listeners_here(settings: Settings) -> list[Listener]:
    """Return those that have no name, and so are not the recorder's."""
    listeners = [choice for choice in settings.listeners if not isinstance(choice, str)]
    return [*listeners, *filter(None, [settings.on_event])]


def _undo(recorder: _Recorder | None, capture: Capture | None, stay: Stay) -> None:
    try:
        if capture is not None:
            capture.close()
        if recorder is not None:
            recorder.give_up()
    finally:  # whatever a second Ctrl-C leaves behind: exit would wait for it
        stay.end()


def check_by_recorder(settings: Settings) -> Plan:
    """Let a recorder check everything that a dump needs; return what is known then.

    Raises `NoRecorder`, and what `Pipeline.check` raises.
    """
    stay = Stay()
    recorder: _Recorder | None = None
    try:
        plan = plan_of(settings)
        recorder = _Recorder(plan, stay, check=True)
        recorder.start()
        checked = attrs.evolve(plan, backend=recorder.expect("checked"))
        recorder.close()
    except BaseException:  # Ctrl-C too
        _undo(recorder, None, stay)
        raise
    stay.end()
    return checked


def _job(plan: Plan, *, check: bool) -> dict[str, object]:
    created_at = datetime.now(UTC)
    own_id = dump_id(created_at)
    return {
        "version": __version__,
        "settings": plan.described,
        "check": check,
        "pid": os.getpid(),
        "id": own_id,
        "name": "check" if check else dump_name(plan.settings.name, created_at, own_id),
        "created_at": created_at,
        "trace": trace_ids(),
        "environ": _environment(),
    }


def _environment() -> dict[str, str]:
    """Return what is in `os.environ`, from which another thread may be removing something."""
    return {
        name: value for name in list(os.environ) if (value := os.environ.get(name)) is not None
    }


def refuse(settings: Settings) -> None:
    """Raise `NoRecorder` if a recorder cannot be started here."""
    if is_closed():
        raise NoRecorder("the interpreter is shutting down")
    if "t" in getattr(sys, "abiflags", ""):  # native code, which could crash, is not even loaded
        raise NoRecorder("this Python is free-threaded")
    try:
        reason = why_no_program() or agent().why_not_recorded(settings.request)
    except Unsupported as error:
        raise NoRecorder("this platform has none") from error
    if reason is not None:
        raise NoRecorder(reason)

"""A recorder until it has its capture: what it is told, and what it says before.

Loads little: it may run in a process that is in trouble.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import attrs

from gencore._listeners.spans import trace_ids
from gencore._recorder.channel import Channel, Message, decode, encode
from gencore._recorder.control import RecorderProcess
from gencore._recorder.job import NoRecorder, Plan
from gencore._recorder.program import LEFT_OUT, command_of
from gencore._runtime import standing
from gencore._runtime.application_errors import ignored, reraise_if_from_handler
from gencore._runtime.lifetime import Stay
from gencore._runtime.platform_agent import agent
from gencore._version import __version__
from gencore.arming import Capture, Program
from gencore.errors import GencoreError
from gencore.huge_pages import HugePages
from gencore.naming import dump_id, dump_name
from gencore.process import ObservedProcess, PythonThread
from gencore.request import DumpRequest

__all__ = ["NewRecorder"]

_READY_LIMIT: Final = 60.0
"""Seconds that a recorder has to load everything, in a dump without a time limit."""
_GONE_LIMIT: Final = 5.0
"""Seconds that a recorder without a capture has to end."""

_PROGRAM: Final = (
    "import gc; gc.set_threshold(100_000); from gencore._recorder.process import main; main()"
)
"""Modules leave no garbage: looking for it after each 700 new objects would take 20 to 30 ms."""
_MALLOC: Final = {"MALLOC_MMAP_THRESHOLD_": 32 << 20, "MALLOC_TRIM_THRESHOLD_": 64 << 20}
"""glibc's, see mallopt(3): a recorder keeps the memory of each block for the next one. Otherwise
it goes back to the kernel, which clears it again. What the target sets itself goes first."""
_ADDED: Final = [f"{name}={value}".encode() for name, value in _MALLOC.items()]
_DIFFERENT: Final = (*map(os.fsdecode, LEFT_OUT), *_MALLOC, "LC_CTYPE")
"""The names of variables that a recorder may have otherwise than its target. The last one is set
by an interpreter that would have the locale C, see PEP 538."""


class NewRecorder:
    """A recorder until it has its capture; ended if that does not come."""

    name: str
    """Of its dump."""
    id: str
    is_ready: bool = False
    """Whether it has said so, and does what follows at once."""

    def __init__(self, plan: Plan, stay: Stay, *, check: bool = False) -> None:
        """Prepare what it is to do; *check*: to check everything, before it has another job.

        Raises `NoRecorder` and OSError.
        """
        self._facts = plan.process
        self._pid = os.getpid()
        self._gets_a_job = check
        self._ends: list[int] = []  # of its channel: ours and, until it has that, its own
        self._pidfd: list[int] = []
        self._channel = Channel()
        stay.in_child(self.close)
        with _no_recorder_if_refused():
            agent().open_channel(self._job(plan, check=check), self._ends)
        self._channel.own(self._ends[0])
        self._limit = plan.settings.request.timeout or _READY_LIMIT

    @property
    def _program(self) -> Program:
        return command_of(_PROGRAM), LEFT_OUT, _ADDED, self._ends[1]

    @cached_property
    def process(self) -> RecorderProcess:
        """It as a process, until it is closed."""
        return RecorderProcess(self._channel, *self._pidfd or [-1])

    def start(self) -> None:
        """Start it. One that is not yet started is by the capture. Raises `NoRecorder`."""
        if self._gets_a_job:
            self._origin = _origin()
        with _no_recorder_if_refused():
            agent().spawn(self._program, self._pidfd)
        if self._gets_a_job:
            self._was_visible = self._is_visible()
        self.close_its_end()

    def is_as_new(self) -> bool:
        """Return whether one that was to check everything is what a new one would be now.

        That is, found no fault, was not killed, and has the same user, directory and so on.
        """
        if self._origin != _origin():  # first: what arrives is not for a child that C code forked
            return False
        if self._was_visible and not self._is_visible():  # Landlock, since
            return False
        try:
            said = [decode(*packet) for packet in agent().take_packets(self._channel.fileno())]
        except OSError as error:
            reraise_if_from_handler(error)
            return False
        return all(message and message.kind == "checked" for message in said)

    def _is_visible(self) -> bool:
        return any(map(agent().may_look_at, self._pidfd))

    def continue_with(self, plan: Plan) -> None:
        """Let one that has checked everything make a dump. Raises `NoRecorder`."""
        with _no_recorder_if_refused():
            agent().send_message(self._channel.fileno(), self._job(plan, check=False))
        self._gets_a_job = False

    def give_up(self) -> None:
        """Let it remove what it has made, and wait for that; kill it if it takes too long."""
        self.close_its_end()
        with ignored(OSError):
            self._channel.send("give up")  # the end of the channel may be a forked child's too
        if not self.process.ends_within(_GONE_LIMIT):
            self.process.kill()
        self.close()

    def dismiss(self) -> None:
        """Let one end that waits for a job, and do not wait for that; not in a forked child.

        The end of the channel says so too, unless C code has forked a child, which has it as well.
        """
        if self._gets_a_job and os.getpid() == self._pid:
            with ignored(OSError):  # it has ended
                agent().send_message(self._channel.fileno(), encode("no job", None))

    def leave(self) -> None:
        """Dismiss it at exit, and leave it to whoever inherits this process's children."""
        self.dismiss()
        self._ends.clear()
        self._channel.close()

    def close(self) -> None:
        """Let go of it. In a forked child too, whose it is not."""
        if self._ends:
            self.dismiss()
            self.close_its_end()
            if self._channel.fileno() < 0:
                agent().close_last(self._ends)
            self._ends.clear()  # first, as a handler of a signal may raise: never closed twice
            self.process.let_go()

    def close_its_end(self) -> None:
        """Close its end of the channel, once it has that, so that the channel ends with it."""
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
        self.is_ready = kind == "ready"
        return message.value

    def _job(self, plan: Plan, *, check: bool) -> bytes:
        created_at = datetime.now(UTC)
        self.id = dump_id(created_at)
        self.name = "check" if check else dump_name(plan.settings.name, created_at, self.id)
        job = {
            "version": __version__,
            "settings": plan.described,
            "check": check,
            "pid": os.getpid(),
            "id": self.id,
            "name": self.name,
            "created_at": created_at,
            "trace": trace_ids(),
            "environ": {name: os.environ.get(name) for name in _DIFFERENT},
        }
        return encode("job", job)

    def hand_over(
        self, capture: Capture, request: DumpRequest, huge_pages: HugePages | None
    ) -> None:
        """Take the capture of this process, and pass what leads to it to the recorder.

        Its end of the channel is still open then: `close_its_end`. Raises `CoreFailed`.
        """
        request = request.without(standing.excluded_ranges())
        recorder = self._pidfd[0] if self._pidfd else self._program
        facts = _with_current(self._facts, huge_pages)
        capture.take(request, self._channel.fileno(), recorder, facts)


def _with_current(lasting: str, huge_pages: HugePages | None) -> bytes:
    """Return all that this process says of itself as JSON: *lasting*, and what changes."""
    observed = ObservedProcess().python_threads()
    current = {
        "annotations": standing.annotations.copy(),
        "python_threads": list(map(_row, observed)),
        "observed_ns": time.monotonic_ns(),
        "huge_pages": huge_pages and attrs.asdict(huge_pages),
    }
    return f"{lasting[:-1]}, {json.dumps(current)[1:]}".encode()


def _row(thread: PythonThread) -> dict[str, object]:
    """Return it for JSON. With a thousand frames `attrs.asdict` would take ten times as long."""
    return {
        "ident": thread.ident,
        "native_id": thread.native_id,
        "name": thread.name,
        "daemon": thread.daemon,
        "frames": [(frame.file, frame.line, frame.function) for frame in thread.frames],
        "truncated": thread.truncated,
    }


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


def _origin() -> tuple[object, ...]:
    """Return what makes two recorders that are started alike."""
    return os.getpid(), command_of(_PROGRAM), agent().inherited()

"""The recorder: makes one dump of the process that has started it, and reports to it."""

import gc
import io
import os
import pickle
import resource
import select
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from gencore._pipeline.dump import Dump
from gencore._pipeline.pipeline import Pipeline
from gencore._recorder.channel import Channel
from gencore._recorder.handover import TargetHandover, lifeline_of
from gencore._recorder.job import NoRecorder, options_of
from gencore._runtime.foreign_errors import text_of, type_name
from gencore._runtime.os_thread import wait_for_descriptors
from gencore._version import __version__
from gencore.events import DumpFinished, Event
from gencore.report import Report
from gencore.target import Target

__all__ = ["main"]

_LIMITS: Final = ("RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_DATA", "RLIMIT_AS", "RLIMIT_CPU")
_KNOWN_TO_TARGETS: Final = frozenset({"builtins", "concurrent", "gencore"})
_PATIENCE: Final = 5
"""Seconds that a target may leave a message unread: it may be stopped (SIGSTOP)."""
_FIRST_TO_BE_KILLED: Final = "1000"
"""When memory runs out, see proc(5), oom_score_adj: the clone has the same."""
_NICENESS: Final = 5
"""A third of the weight of a process at 0, see sched(7). With the least, 19, a recorder got
nothing on a busy machine, and the clone stayed for minutes, with what it copies of the memory."""


def main() -> None:
    """Make the dump that the first message on standard input describes."""
    _raise_limits()
    channel = _take_channel()
    message = channel.receive()
    if message is None:
        return
    job = message.value
    try:
        _check_version(job["version"])
        if job["check"]:
            channel.take_from(job["pid"])
            _deliver(channel, job["pid"], "checked", _pipeline(channel, job).check())
            job = _next_job(channel, job["pid"])
        if job is None:
            return
        last = _record(channel, job)
    except NoRecorder as error:
        last = "unable", str(error)
    except BaseException as error:
        last = "error", _sendable(error)
    _deliver(channel, job["pid"], *last)
    gc.freeze()  # or the interpreter's exit looks at each object, several times: 50 ms


def _deliver(channel: Channel, target: int, kind: str, value: object) -> None:
    """Send the last message, however long the target leaves those before it unread."""
    with suppress(OSError):  # it has ended
        lifeline = lifeline_of(target)
        while not wait_for_descriptors(lifeline, 0):
            with suppress(BlockingIOError):
                channel.send(kind, value)
                return


def _raise_limits() -> None:
    """Raise the soft limits of the target that are not meant for what makes its dumps."""
    for name in _LIMITS:
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        with suppress(OSError, ValueError):
            resource.setrlimit(which, (hard, hard))


def _take_channel() -> Channel:
    """Take it from standard input, where plug-ins would find it."""
    channel = Channel(os.dup(0))
    channel.give_up_sending_after(_PATIENCE)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return channel


def _check_version(version: str) -> None:
    """Raise `NoRecorder` if messages may mean something else to the target."""
    if version != __version__:
        raise NoRecorder(f"gencore was changed to version {__version__} under this process")


def _next_job(channel: Channel, target: int) -> dict[str, Any] | None:
    """Wait for another job; None if none comes."""
    _write("/proc/self/oom_score_adj", _FIRST_TO_BE_KILLED)
    arrived = {channel.fileno(): select.POLLIN}
    with suppress(ProcessLookupError):
        wait_for_descriptors({**arrived, **lifeline_of(target)}, None)
    message = channel.receive() if wait_for_descriptors(arrived, 0) else None
    return message.value if message is not None and message.kind == "job" else None


def _pipeline(channel: Channel, job: dict[str, Any]) -> Pipeline:
    """Return the one of the target, for one dump of it."""
    facts = {name: job[name] for name in ("pid", "name", "id", "created_at", "trace")}
    handover = TargetHandover(channel=channel, **facts)
    options = options_of(job["settings"])
    options["target"] = Target(job["pid"], handover)  # type: ignore[typeddict-item]  # others have pids
    options["on_event"] = lambda event: _pass_on(channel, event)
    pipeline = Pipeline(**options)
    _have_environment_of_target(job["environ"])
    return pipeline


def _record(channel: Channel, job: dict[str, Any]) -> tuple[str, object]:
    """Return the last message: what has come of it."""
    dump = _pipeline(channel, job).start()
    _give_way()
    _obey(channel, dump)
    try:
        return "report", _sendable_report(dump.result())
    except CancelledError as error:
        return "error", error


def _have_environment_of_target(different: dict[str, str | None]) -> None:
    """What follows describes the target; the settings have been read from the recorder's own."""
    for name, value in different.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _give_way() -> None:
    """Leave processor and memory to the service: what matters is over.

    A process in a session of its own is scheduled as a group, whose weight is set in
    /proc/PID/autogroup, see sched(7); where there are no such groups, nice(2) counts.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    _write("/proc/self/autogroup", str(_NICENESS))
    _write("/proc/self/oom_score_adj", _FIRST_TO_BE_KILLED)


def _write(path: str, text: str) -> None:
    with suppress(OSError):
        Path(path).write_bytes(text.encode())


def _obey(channel: Channel, dump: Dump) -> None:
    """Wait for the end of the dump, and cancel it if that is asked for."""
    ended, end = os.pipe()
    dump.add_done_callback(lambda _: os.close(end))
    wanted = {channel.fileno(): select.POLLIN, ended: select.POLLIN}
    while ended not in wait_for_descriptors(wanted, None):
        try:
            message = channel.receive()
        except PermissionError:  # of somebody else
            continue
        except OSError:
            message = None
        if message is None:  # the target has ended: the dump is worth all the more
            del wanted[channel.fileno()]
        elif message.kind in {"cancel", "give up"}:
            with suppress(OSError):
                channel.send("cancelling", dump.cancel())
    os.close(ended)


def _pass_on(channel: Channel, event: Event) -> None:
    if not isinstance(event, DumpFinished):
        with suppress(OSError):
            channel.send("event", event)


def _sendable_report(report: Report) -> Report:
    failed = tuple(attrs.evolve(part, error=_sendable(part.error)) for part in report.failed)
    return attrs.evolve(report, failed=failed)


def _sendable(error: BaseException) -> Any:
    """Return an error that the target can have: others as the name of their class and a text."""
    with suppress(Exception):
        _OfTheTarget(io.BytesIO(pickle.dumps(error))).load()
        return error
    return ForeignError(type_name(error), text_of(error))


class _OfTheTarget(pickle.Unpickler):  # noqa: S301 - its own
    """Reads what is made of nothing that only plug-ins, or a recorder, have loaded."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] not in _KNOWN_TO_TARGETS:
            raise pickle.UnpicklingError(module)
        return super().find_class(module, name)


class ForeignError(Exception):
    """Stands for an exception of a class that the target may not have; pickled as its like."""

    def __reduce__(self) -> Any:
        """Become an exception of a class of that name."""
        from gencore._recorder.recording import foreign_error

        return foreign_error, self.args

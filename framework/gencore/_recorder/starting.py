"""Starts a recorder, and lets it have the capture of this process.

Loads little: it may run in a process that is in trouble.
"""

import sys
import time
from concurrent.futures import CancelledError

import attrs

from gencore._listeners.told import announcers_for
from gencore._pipeline.dump import Dump
from gencore._recorder.job import NoRecorder, Plan, plan_of
from gencore._recorder.new_recorder import NewRecorder
from gencore._recorder.program import why_no_program
from gencore._recorder.recording import Recording
from gencore._recorder.standby import Standby
from gencore._runtime.lifetime import Stay, is_closed
from gencore._runtime.os_thread import settle
from gencore._runtime.platform_agent import agent
from gencore._settings.settings import Settings
from gencore.arming import Capture
from gencore.errors import Unsupported
from gencore.events import Listener
from gencore.huge_pages import HugePages
from gencore.request import DumpRequest

__all__ = ["check_by_recorder", "refuse", "start_by_recorder"]


def start_by_recorder(plan: Plan, *, huge_pages: HugePages | None = None) -> Dump:
    """Take the instant, and return once a recorder makes a dump of it.

    If the backend is known, as that of a pipeline that was prepared is, the recorder is started by
    the clone, unless one stands by: what it then refuses is in the report. *huge_pages*: what was
    collapsed before, for the report. Raises `NoRecorder`, and what `Pipeline.start` raises.
    """
    began = time.perf_counter()
    refuse(plan.settings)
    settings, backend = plan.settings, plan.backend
    stay = Stay()
    recorder: NewRecorder | None = None
    capture: Capture | None = None
    recording: Recording | None = None
    try:
        recorder = (plan.standby and plan.standby.take(stay)) or NewRecorder(plan, stay)
        if backend is None:
            recorder.start()
        request = settings.request
        if request.huge_pages:  # while the recorder loads what it needs
            huge_pages = agent().collapse_memory(request.timeout)
        if backend is None:
            ready = recorder.expect("ready")
            backend, request = ready["backend"], DumpRequest(**ready["wish"])
        capture = agent().new_capture()
        recording = Recording(
            recorder=recorder,
            capture=capture,
            backend=backend,
            timeout=settings.request.timeout,
            stay=stay,
            announcers=announcers_for(recorder.name, _listeners_here(settings)),
            standby=plan.standby,
        )
        dump = recording.handle()
        settle()
        recorder.hand_over(capture, request, huge_pages)
        recording.start(began)
    except BaseException:  # Ctrl-C too
        if recording is None or recording.give_up():
            _undo(recorder, capture, stay)
            if plan.standby is not None:
                plan.standby.renew()
        else:
            recording.stop(CancelledError())
        raise
    return dump


def _listeners_here(settings: Settings) -> list[Listener]:
    """Return those that have no name, and so are not the recorder's."""
    listeners = [choice for choice in settings.listeners if not isinstance(choice, str)]
    return [*listeners, *filter(None, [settings.on_event])]


def _undo(recorder: NewRecorder | None, capture: Capture | None, stay: Stay) -> None:
    try:
        if recorder is not None:
            recorder.give_up()
        if capture is not None:  # last: a recorder whose clone dies publishes what it has of it
            capture.close()
    finally:  # whatever a second Ctrl-C leaves behind: exit would wait for it
        stay.end()


def check_by_recorder(settings: Settings, *, standby: bool) -> Plan:
    """Let a recorder check everything that a dump needs; return what is known then.

    With *standby* it then waits for the next dump. Raises `NoRecorder`, and what `Pipeline.check`
    raises.
    """
    if settings.request.target.other is not None:
        raise NoRecorder("whoever dumps another process is the recorder")
    refuse(settings)
    stay = Stay()
    recorder: NewRecorder | None = None
    try:
        plan = plan_of(settings)
        recorder = NewRecorder(plan, stay, check=True)
        recorder.start()
        plan = attrs.evolve(plan, backend=recorder.expect("checked"))
        if standby:
            plan = attrs.evolve(plan, standby=Standby(plan, recorder))
        else:
            recorder.close()
    except BaseException:  # Ctrl-C too
        _undo(recorder, None, stay)
        raise
    stay.end()
    return plan


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

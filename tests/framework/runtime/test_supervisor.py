"""How long a call of a plug-in may go on, and what becomes of it after the dump was stopped."""

import threading

import pytest

from gencore._runtime import supervisor
from gencore._runtime.stop_switch import StopSwitch
from gencore._runtime.supervisor import Call, Supervisor


class Stopped(Exception):
    """Why the dump was stopped."""


def run_stopped_call():
    """Stop a dump in a call that goes on for many looks; return what the call came to."""
    stop, go_on, looks = StopSwitch(lambda: None), threading.Event(), []

    def call():
        stop.stop(Stopped())
        go_on.wait(20)
        return "returned"

    def steps():
        try:
            return (yield Call(call))
        except Stopped:
            return "given up"
        finally:
            go_on.set()

    def look():
        looks.append(1)
        if len(looks) == 20:
            go_on.set()

    return Supervisor(steps(), stop).run(look)


@pytest.mark.parametrize(("grace", "outcome"), [(60, "returned"), (0, "given up")])
def test_what_was_stopped_has_some_time_to_return(monkeypatch, grace, outcome):
    """What it then returns counts; after that time its thread is left behind."""
    monkeypatch.setattr(supervisor, "_LOOK_EVERY", 0.01)
    monkeypatch.setattr(supervisor, "_GRACE", grace)

    assert run_stopped_call() == outcome

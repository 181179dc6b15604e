"""A recorder that waits for the next dump of a pipeline, with everything loaded.

Loads little: it may run in a process that is in trouble.
"""

from collections import deque
from contextlib import suppress

from gencore._recorder.job import NoRecorder, Plan
from gencore._recorder.new_recorder import NewRecorder
from gencore._runtime.application_errors import reraise_if_applications
from gencore._runtime.lifetime import Stay
from gencore._runtime.os_thread import Latch

__all__ = ["Standby"]


class _Waiting(Stay):
    """The stay of a recorder that waits. Exit does not wait for it, but ends it."""

    def __init__(self, recorder: NewRecorder) -> None:
        self.recorder = recorder
        self._claimed = Latch()
        super().__init__()
        self.in_child(recorder.close)

    def claim(self) -> bool:
        """Return whether the recorder is the caller's: exit may come meanwhile, on its thread."""
        return self._claimed.open()

    def wait(self) -> None:
        """Let the recorder end, at exit; leave a moment to who has claimed it."""
        if self.claim():
            self.recorder.leave()
        else:
            super().wait()
        self.end()


class Standby:
    """Has one recorder wait at a time: that of a dump is followed by another one."""

    def __init__(self, plan: Plan, recorder: NewRecorder) -> None:
        """Let *recorder* wait, which has checked everything."""
        self._plan = plan
        self._waiting = deque([_Waiting(recorder)])  # each use is one step of the interpreter
        self._missing: deque[None] = deque()
        self._dismissed: deque[NewRecorder] = deque()
        """Those that are of no use. A child of this process is waited for after the dump."""

    def take(self, stay: Stay) -> NewRecorder | None:
        """Return the one that waits, with a dump as its next job; None if it is of no use now.

        That is the case while the one before is at work, once it was killed, and if a new one
        would have another user, directory, environment or the like: then it is ended.
        """
        try:
            waiting = self._waiting.pop()
        except IndexError:
            return None
        self._missing.append(None)
        if not waiting.claim():
            return None
        recorder = waiting.recorder
        stay.in_child(recorder.close)
        waiting.end()
        if recorder.is_as_new():
            with suppress(NoRecorder):
                recorder.continue_with(self._plan)
                return recorder
        recorder.dismiss()
        self._dismissed.append(recorder)
        return None

    def renew(self) -> None:
        """Let another one wait, if none does. What fails is tried again after the next dump."""
        with suppress(IndexError):
            while True:
                self._dismissed.pop().close()
        try:
            self._missing.pop()
        except IndexError:
            return
        try:
            self._waiting.append(_begun(self._plan))
        except BaseException as error:  # no memory, a sys.path that no program can be given
            self._missing.append(None)
            reraise_if_applications(error)

    def close(self) -> None:
        """Let it end, and no other one follow."""
        self._missing.clear()
        while self._waiting:
            waiting = self._waiting.pop()
            if waiting.claim():
                waiting.recorder.close()
            waiting.end()


def _begun(plan: Plan) -> _Waiting:
    """Start one, and do not wait until it has checked everything."""
    stay = Stay()
    try:
        recorder = NewRecorder(plan, stay, check=True)
        recorder.start()
        return _Waiting(recorder)
    finally:
        stay.end()

"""An exception of a signal's handler in `start`, at each point at which Python may run one."""

import sys

import pytest

pytestmark = [pytest.mark.recorder, pytest.mark.skipif(sys.platform != "linux", reason="Linux")]

PROGRAM = """
import collections, gc, gencore, json, opcode, os, pathlib, signal, sys, time
from gencore._runtime import lifetime

pipeline = gencore.Pipeline(collectors=["raw"], content="stacks", backend="linux-elf")
if sys.argv[1] == "prepared":
    pipeline.prepare()
pipeline.run()
threads = pathlib.Path("/proc/self/task")
# Behind these instructions the interpreter looks for signals.
LOOKS = {opcode.opmap[name] for name in ("CALL", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD")}

class Limit(TimeoutError):
    pass

def interrupt(signum, frame):
    raise Limit

signal.signal(signal.SIGALRM, interrupt)

def is_ignored(frame):
    # While an object is deleted, Python ignores what is raised.
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None

class Interruption:
    def __init__(self, number):
        self.number, self.seen, self.place, self.before = number, 0, None, {}

    def __call__(self, frame, event, argument):
        if "gencore" not in frame.f_code.co_filename or is_ignored(frame):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            code = frame.f_code
            key = id(frame)  # the frame itself would be kept, with all that it has
            before, self.before[key] = self.before.get(key), code.co_code[frame.f_lasti]
            if before in LOOKS:
                self.seen += 1
                if self.seen == self.number:
                    self.place = f"{code.co_filename}:{frame.f_lineno}"
                    signal.raise_signal(signal.SIGALRM)
        elif event == "return":
            self.before.pop(id(frame), None)
        return self

def descriptors():
    paths = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    kinds = [os.readlink(path).partition("[")[0] for path in paths if os.path.lexists(path)]
    return collections.Counter(kinds)

def eventually(question):
    end = time.monotonic() + 20
    while not (answer := question()) and time.monotonic() < end:
        gc.collect()
        time.sleep(0.002)
    return answer

def has_children():
    return any(file.read_text() for file in threads.glob("*/children"))

def what_is_left(before):
    if not eventually(lambda: not lifetime._stays):
        yield "exit would wait"
    if not eventually(lambda: not has_children()):
        yield "a clone"
    if not eventually(lambda: descriptors() == before):
        yield f"descriptors {descriptors() - before}"

found, number, step = [], 1, int(sys.argv[2])
eventually(lambda: len(os.listdir(threads)) == 1)
before = descriptors()
while True:
    if sys.argv[1] == "standby":
        pipeline.prepare(standby=True)
    interruption, raised, dump = Interruption(number), False, None
    sys.settrace(interruption)
    try:
        dump = pipeline.start()
    except Limit:
        raised = True
    except BaseException as error:
        found.append([interruption.place, repr(error)])
    finally:
        sys.settrace(None)
    if dump is not None:
        assert dump.result().result == "complete"
    if sys.argv[1] == "standby":
        pipeline.prepare()
    found += [[interruption.place, left] for left in what_is_left(before)]
    if interruption.place is None:
        break
    if not raised:
        found.append([interruption.place, "not raised"])
    number += step
left = eventually(lambda: not [*pathlib.Path().glob(".*.part")])
print(json.dumps([number // step, found, left]))
"""


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("prepared", 11),
        *(
            pytest.param(*case, marks=pytest.mark.exhaustive)
            for case in (("prepared", 1), ("standby", 4), ("not prepared", 3))
        ),
    ],
)
def test_an_exception_of_a_handler_anywhere_in_start_leaves_nothing_behind(python, kind, step):
    """Its caller gets it, and no clone, descriptor, private directory or wait at exit is left."""
    tried, found, none_is_left = python(PROGRAM, kind, step)

    assert found == [], found
    assert none_is_left
    assert tried > 20

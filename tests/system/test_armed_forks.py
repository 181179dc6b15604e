"""An armed process forks in every supported Python, without a warning; its children are armed."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="agents are Linux's")

FORKS = """
import json, os, warnings
import gencore

warnings.simplefilter("error")  # CPython 3.12 and later warn of other threads
gencore.arm()
children = []
for _ in range(30):
    pid = os.fork()
    if pid == 0:
        os._exit(len(os.listdir("/proc/self/task")))
    children.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(json.dumps([children, len(os.listdir("/proc/self/task")), gencore.is_armed()]))
"""


def test_no_fork_of_an_armed_process_warns(installed):
    """Parent and children have one thread of the agent's each, and listen."""
    _, interpreter = installed

    printed = subprocess.check_output([interpreter, "-c", FORKS], text=True, timeout=100)

    assert json.loads(printed) == [[2] * 30, 2, True]


def test_no_fork_of_a_process_with_a_heartbeat_warns(installed):
    """The thread that needs the GIL for a trigger ends before each fork, and begins again."""
    _, interpreter = installed
    arm = "gencore.arm(triggers=[gencore.Trigger('gil', '1h')])"
    code = FORKS.replace("gencore.arm()", arm)

    printed = subprocess.check_output([interpreter, "-c", code], text=True, timeout=100)

    children, _, armed = json.loads(printed)
    assert set(children) == {3}  # the main thread, the agent's and the heartbeat
    assert armed


def test_the_wheel_arms_what_is_started_below_exec(installed):
    """In an environment of its own, by the file that the wheel puts beside the packages."""
    _, interpreter = installed
    code = "import gencore; print(gencore.is_armed())"

    command = [interpreter.with_name("gencore"), "exec", "--", interpreter, "-I", "-c", code]

    assert subprocess.check_output(command, text=True, timeout=100) == "True\n"

"""How much room a process has for its clone, by the memory cgroups that limit it."""

import json
import subprocess
import sys

import pytest

MIB = 1 << 20
ASKS = """
import ctypes, json, subprocess, sys
from gencore_backends.linux.memory_cgroup import room_for_clone

print("begun", flush=True)
pid = int(sys.stdin.readline())
if sys.argv[1] == "apart":  # in namespaces of cgroups and mounts, as in a container
    top = "/sys/fs/cgroup/memory"
    own = top + open("/proc/self/cgroup").read().split(":memory:")[1].split()[0]
    ctypes.CDLL(None).unshare(0x02020000)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--bind", own, top], check=True)
print(json.dumps(room_for_clone(pid)[0]))
"""


@pytest.mark.parametrize("namespaces", ["shared", "apart"])
@pytest.mark.parametrize("whose", ["its own", "another's"])
def test_only_the_cgroups_of_a_process_limit_its_clone(cgroup, namespaces, whose):
    """Not that of who asks, which is the top of what is visible in a container."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other,
        subprocess.Popen([sys.executable, "-c", ASKS, namespaces], **pipes) as asking,
    ):
        assert asking.stdout.readline() == "begun\n"
        cgroup(asking.pid, 40 * MIB)
        pid = asking.pid if whose == "its own" else other.pid
        room = json.loads(asking.communicate(f"{pid}\n")[0])
        other.stdin.close()

    assert (room <= 40 * MIB) == (whose == "its own")

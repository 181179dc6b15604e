"""A pod with all restrictions: read-only root, no capability, no right to gain any, not root."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("gencore")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pods are Linux's")
SERVICE = """
import os
with open("/proc/self/status") as file:
    rows = {key: value.strip() for key, _, value in (line.partition(":") for line in file)}
writable = [path for path in ("/", "/tmp", "/run", "/var") if os.access(path, os.W_OK)]
print(os.getpid(), os.getuid(), rows["CapEff"], rows["NoNewPrivs"], writable, flush=True)
input()
"""


@pytest.fixture
def pod(container):
    """Start a service as process 1 of a container."""
    return container(COMMAND, "exec", "--", sys.executable, "-c", SERVICE)


def output_of(done):
    """Return what a command has printed."""
    assert done.returncode == 0, done.stderr
    return done.stdout


def process_in(bundle):
    with tarfile.open(bundle) as opened:
        name = next(name for name in opened.getnames() if name.endswith("/manifest.json"))
        return json.load(opened.extractfile(name))["process"]


def test_process_1_of_a_restricted_pod_is_dumped_to_standard_output(pod, tmp_path):
    """No capability, no writable directory: the bundle verifies outside."""
    assert pod.said == "1 1000 0000000000000000 1 []"

    sent = output_of(pod.run(COMMAND, "dump", "1", "-o", "-", "--quiet"))

    bundle = tmp_path / "bundle.tar.gz"
    bundle.write_bytes(sent)
    subprocess.run([COMMAND, "verify", bundle], check=True, capture_output=True)
    assert process_in(bundle)["pid"] == 1


def test_a_bundle_is_kept_in_an_emptydir(pod, tmp_path):
    """And what is armed is listed, inside."""
    listed = json.loads(output_of(pod.run(COMMAND, "ps", "--json")))

    output_of(pod.run(COMMAND, "dump", "1", "-o", tmp_path / "dumps", "--quiet"))

    assert [process["pid"] for process in listed["processes"]] == [1]
    (bundle,) = (tmp_path / "dumps").rglob("*.tar.gz")
    assert process_in(bundle)["pid"] == 1


def on_the_node(*command):
    """Run it outside of every container."""
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_root_dumps_it_from_the_node(pod, tmp_path):
    """By the process ID that the node shows; its only socket belongs to the pod's network."""
    listed = json.loads(output_of(on_the_node(COMMAND, "ps", "--json")))
    done = on_the_node(COMMAND, "dump", str(pod.pid), "-o", tmp_path, "--quiet")

    assert pod.pid in [process["pid"] for process in listed["processes"]]
    assert process_in(output_of(done).strip())["vpid"] == [pod.pid, 1]


def test_who_may_not_enter_the_network_is_told_what_it_takes(pod, tool):
    """It is not a process that is not armed: exit code 6, with what has to be typed."""
    without = [tool("setpriv"), "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]

    done = on_the_node(*without, COMMAND, "dump", str(pod.pid), "--quiet")

    assert done.returncode == 6
    assert "takes CAP_SYS_ADMIN to enter" in done.stderr
    assert "remedy: docker run --cap-add SYS_ADMIN" in done.stderr

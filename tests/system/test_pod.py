"""A pod with all restrictions: read-only root, no capability, no right to gain any, not root."""

import json
import os
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
def pod(tool, tmp_path):
    """Start a service as process 1 of a container; return its pid outside, and what it prints."""
    empty_dir = tmp_path / "dumps"
    empty_dir.mkdir()
    empty_dir.chmod(0o777)
    about, its_end = os.pipe()
    command = [
        *(tool("bwrap"), "--unshare-all", "--as-pid-1", "--uid", "1000", "--gid", "1000"),
        *("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
        *("--bind", empty_dir, empty_dir, "--info-fd", str(its_end), "--chdir", "/"),
        *(COMMAND, "exec", "--", sys.executable, "-c", SERVICE),
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[its_end]
    )
    os.close(its_end)
    with os.fdopen(about) as file, process:
        said = process.stdout.readline().rstrip("\n")
        yield json.load(file)["child-pid"], said
        process.communicate("\n")


def exec_in(pod, *command, tool):
    """Run a command in it, as "kubectl exec" does; return what it prints."""
    enter = [tool("nsenter"), "--target", str(pod), "--all", "--preserve-credentials", "--"]
    dropped = [tool("setpriv"), "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
    done = subprocess.run([*enter, *dropped, *command], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def process_in(bundle):
    with tarfile.open(bundle) as opened:
        name = next(name for name in opened.getnames() if name.endswith("/manifest.json"))
        return json.load(opened.extractfile(name))["process"]


def test_process_1_of_a_restricted_pod_is_dumped_to_standard_output(pod, tmp_path, tool):
    """No capability, no writable directory: the bundle verifies outside."""
    inside, said = pod
    assert said == "1 1000 0000000000000000 1 []"

    sent = exec_in(inside, COMMAND, "dump", "1", "-o", "-", "--quiet", tool=tool)

    bundle = tmp_path / "bundle.tar.gz"
    bundle.write_bytes(sent)
    subprocess.run([COMMAND, "verify", bundle], check=True, capture_output=True)
    assert process_in(bundle)["pid"] == 1


def test_a_bundle_is_kept_in_an_emptydir(pod, tmp_path, tool):
    """And what is armed is listed, inside."""
    inside, _ = pod
    listed = json.loads(exec_in(inside, COMMAND, "ps", "--json", tool=tool))

    exec_in(inside, COMMAND, "dump", "1", "-o", tmp_path / "dumps", "--quiet", tool=tool)

    assert [process["pid"] for process in listed["processes"]] == [1]
    (bundle,) = (tmp_path / "dumps").rglob("*.tar.gz")
    assert process_in(bundle)["pid"] == 1


def test_root_dumps_it_from_the_node(pod, tmp_path, tool):
    """By the process ID that the node shows, from its network: its only socket is abstract."""
    inside, _ = pod
    enter = [tool("nsenter"), "--net", "--target", str(inside)]

    done = subprocess.run(
        [*enter, COMMAND, "dump", str(inside), "-o", tmp_path, "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert process_in(done.stdout.strip())["vpid"] == [inside, 1]

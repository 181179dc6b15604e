"""A sidecar that shares the network of a service, and nothing else: no PIDs, no files."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("gencore")
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "dump-in-kubernetes.md"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pods are Linux's")
ARMED = (COMMAND, "exec", "--", sys.executable, "-c")
SERVICE = """
import ctypes, os, sys, threading
if sys.argv[1:]:
    ctypes.CDLL(sys.argv[1])
waits = threading.Event()
def named():
    with open("/proc/thread-self/comm", "w") as file:
        file.write('a "name"')
    print(os.getpid(), flush=True)
    waits.wait()
thread = threading.Thread(target=named)
thread.start()
input()
waits.set()
"""
WAITS = "print('ready', flush=True); input()"


@pytest.fixture
def library(tmp_path):
    """Make two libraries; return how each is mounted at one path, that path, and the first's hash.

    A sidecar has another one where the service has its own.
    """
    place = tmp_path / "apart"
    place.mkdir()
    mounts = []
    for text in ("the service's", "the sidecar's"):
        source = tmp_path / "library.c"
        source.write_text(f'const char text[] = "{text}";\n')
        made = tmp_path / f"library{len(mounts)}.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", made, source], check=True)
        mounts.append(("--tmpfs", place, "--ro-bind", made, place / "library.so"))
    digest = hashlib.sha256((tmp_path / "library0.so").read_bytes()).hexdigest()
    return *mounts, place / "library.so", digest


@pytest.fixture
def pod(container, library):
    """Start a service and a sidecar, both as process 1; return both."""
    its_files, other_files, path, _ = library
    service = container(*ARMED, SERVICE, path, options=its_files)
    sidecar = container(sys.executable, "-c", WAITS, beside=service, options=other_files)
    assert (service.said, sidecar.said) == ("1", "ready")
    return service, sidecar


def dump_in(sidecar, named, dumps):
    """Dump a process from the sidecar; return the path of the bundle."""
    done = sidecar.run(COMMAND, "dump", named, "-o", dumps, "--quiet")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.decode().strip())


def listed_in(sidecar):
    return json.loads(sidecar.run(COMMAND, "ps", "--json").stdout)["processes"]


def open_bundle(path):
    """Return the manifest, and the members by their paths in the process's root."""
    with tarfile.open(path) as bundle:
        members = {name.partition("/")[2]: name for name in bundle.getnames()}
        manifest = json.load(bundle.extractfile(members["manifest.json"]))
        read = {name: bundle.extractfile(members[name]).read() for name in members}
    return manifest, read


def test_a_service_is_dumped_by_the_id_that_it_sees_itself(pod, library, tmp_path):
    """Although the sidecar has a process 1 too, and another file where the service has its own.

    Nothing in the bundle is of the sidecar: what the kernel says comes from the service.
    """
    _, sidecar = pod
    *_, path, digest = library

    bundle = dump_in(sidecar, "1", tmp_path / "dumps")

    manifest, members = open_bundle(bundle)
    assert subprocess.run([COMMAND, "verify", bundle], check=False).returncode == 0
    assert manifest["status"]["result"] == "complete"
    process = manifest["process"]
    assert (process["pid"], process["vpid"], process["argv"][-1]) == (1, [1], "[redacted]")
    assert process["user"]["id"] == 1000
    assert process["executable"]["path"] == os.path.realpath(sys.executable)
    assert {'a "name"', "gencore-agent"} <= {thread["name"] for thread in manifest["threads"]}
    assert hashlib.sha256(members[str(path).lstrip("/")]).hexdigest() == digest
    assert b"the sidecar's" not in members[str(path).lstrip("/")]
    assert str(path) in {row["path"] for row in manifest["memory"]}


def test_what_cannot_be_read_without_rights_is_unknown_and_not_the_side_cars(pod, tmp_path):
    """Limits, descriptors, the working directory: process 1 of the sidecar has some as well."""
    _, sidecar = pod

    manifest, _ = open_bundle(dump_in(sidecar, "1", tmp_path / "dumps"))

    process = manifest["process"]
    assert process["open_fds"] is None
    assert process["working_directory"] is None
    assert set(process["limits"].values()) == {None}
    assert process["threads"] == 3


def test_the_commands_of_the_how_to_page_work(pod, tmp_path):
    """Each as it stands there, but for the place of the bundles."""
    _, sidecar = pod
    found = re.findall(r"kubectl exec orders -c dumper -- gencore ([^>\n]*)", PAGE.read_text())

    for arguments in (text.replace("/var/dumps", f"{tmp_path}/dumps").split() for text in found):
        done = sidecar.run(COMMAND, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout

    assert [text.split()[0] for text in found] == ["ps", "dump", "dump"]


def test_gdb_finds_the_libraries_of_the_bundle(pod, tmp_path, tool):
    """By the names that the linker of the service has for them."""
    _, sidecar = pod
    bundle = dump_in(sidecar, "1", tmp_path / "dumps")
    shutil.unpack_archive(bundle, tmp_path / "unpacked", filter="data")
    (root,) = (tmp_path / "unpacked").iterdir()
    program = root / os.path.realpath(sys.executable).lstrip("/")
    command = [tool("gdb"), "-batch", "-nx", "-ex", f"set sysroot {root}", "-ex"]

    asked = [*command, f"file {program}", "-ex", f"core-file {root}/core", "-ex", "info shared"]
    shown = subprocess.run(asked, capture_output=True, text=True, check=True).stdout

    (libc,) = (line for line in shown.splitlines() if "libc.so.6" in line)
    assert str(root) in libc


def test_ps_lists_what_the_network_shows(pod):
    """By the name of its agent, which is a name for a dump too, and says that it is hidden."""
    service, sidecar = pod

    (row,) = listed_in(sidecar)

    assert (row["pid"], row["parent_pid"], row["hidden"], row["threads"]) == (1, 0, True, 3)
    assert row["agent"].split("/")[1] == "1"
    assert row["argv"][-1].endswith("library.so")
    assert row["agent"] in sidecar.run(COMMAND, "ps").stdout.decode()
    assert [row["hidden"] for row in listed_in(service)] == [False]


def test_a_pid_that_means_two_is_refused_with_the_names_of_both(container, tmp_path):
    """And each of these names means one."""
    service = container(*ARMED, SERVICE)
    sidecar = container(*ARMED, WAITS, beside=service)
    own = sorted(row["agent"] for row in listed_in(sidecar))
    (other,) = (row["agent"] for row in listed_in(sidecar) if row["hidden"])

    done = sidecar.run(COMMAND, "dump", "1", "-o", tmp_path / "dumps", "--quiet")

    assert done.returncode == 2
    assert f"1 is the ID of several armed processes: {', '.join(own)}" in done.stderr.decode()
    assert f"gencore dump {other}" in done.stderr.decode()
    manifests = [open_bundle(dump_in(sidecar, name, tmp_path / "dumps"))[0] for name in own]
    assert sorted(manifest["process"]["threads"] for manifest in manifests) == [2, 3]


KILLED = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
WAITS_FOR_ITS_END = """
import json, socket, sys, tarfile, time
from pathlib import Path
from gencore import Pipeline
from gencore.arming import find_target
from gencore_backends.linux import hidden_access

target, dumps, ask = find_target(sys.argv[1]), Path(sys.argv[2]), hidden_access.ask_for_file

def is_gone():
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one:
        return one.connect_ex(f"\\0gencore/{target.hidden.name}")

def ask_when_it_is_gone(*arguments):
    (dumps / "captured").touch()
    while not is_gone():
        time.sleep(0.01)
    ask(*arguments)

hidden_access.ask_for_file = ask_when_it_is_gone
report = Pipeline(target=target, directory=dumps).run()
with tarfile.open(report.path_of("archive")) as bundle:
    names = sorted(name.partition("/")[2] for name in bundle.getnames())
print(json.dumps([report.result, [part.part for part in report.problems], names]))
"""


def test_a_service_that_is_killed_meanwhile_names_what_is_missing(container, tmp_path):
    """It was captured, and has sent no file: its core is whole, and nothing is the sidecar's."""
    shell = f"'{COMMAND}' exec -- '{sys.executable}' -c '{KILLED}' & read line"
    service = container("sh", "-c", shell)
    sidecar = container(sys.executable, "-c", WAITS, beside=service)
    dumps = tmp_path / "dumps"

    with ThreadPoolExecutor(1) as threads:
        command = (sys.executable, "-c", WAITS_FOR_ITS_END, service.said, dumps)
        done = threads.submit(sidecar.run, *command)
        while not (dumps / "captured").exists() and not done.done():
            time.sleep(0.01)
        service.run("sh", "-c", f"kill -KILL {service.said}")

    assert done.result().returncode == 0, done.result().stderr
    result, missing, names = json.loads(done.result().stdout)
    assert (result, names) == ("partial", ["core", "manifest.json"])
    assert {os.path.realpath(sys.executable), "/usr/lib/x86_64-linux-gnu/libc.so.6"} <= {*missing}
    assert "core" not in missing


TAKES_A_NAME = """
import json, socket, threading
from gencore import TargetUnavailable
from gencore.arming import armed_processes, find_target

def answer(listener):
    said = {"version": 1, "pid": 7, "captures": 0, "last": 0, "facts": None, "descriptors": []}
    while True:
        with listener.accept()[0] as connection:
            connection.recv(1000)
            connection.send(json.dumps(said).encode())

with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one:
    one.bind("\\0gencore/123/7/45")
    one.listen()
    threading.Thread(target=answer, args=[one], daemon=True).start()
    print(len(list(armed_processes())), find_target("7").hidden)
    try:
        find_target("123/7/45")
    except TargetUnavailable as error:
        print(error.message)
"""


def test_a_name_that_a_visible_process_has_taken_is_not_believed(pod):
    """An agent that is hidden belongs to a process that this PID namespace does not have."""
    _, sidecar = pod

    done = sidecar.run(sys.executable, "-c", TAKES_A_NAME)

    said = done.stdout.decode().splitlines()
    assert said == ["1 None", "agent 123/7/45 does not listen in this network"], done.stderr


ASKS_AS_ANOTHER = """
import os
from gencore import TargetUnavailable
from gencore.arming import find_target
from gencore.target import Target
from gencore_backends.linux import agent_client

target = find_target("1")
os.setgroups([])
os.setgid(12345)
os.setuid(12345)
print(find_target("1").hidden)
for check in agent_client._check_hidden, lambda *_: None:
    agent_client._check_hidden = check
    try:
        agent_client.ask(target).close()
    except TargetUnavailable as error:
        print(error.message)
"""


def test_another_user_is_refused_on_both_sides(pod, tool):
    """By who asks, as the agent might be a stranger's; and by the agent, if it is asked anyway."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    service, _ = pod
    network = [tool("nsenter"), "--net", "--target", str(service.pid)]
    apart = [tool("unshare"), "--pid", "--mount", "--mount-proc", "--fork", "--kill-child"]

    command = [*network, *apart, sys.executable, "-c", ASKS_AS_ANOTHER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    first, at_the_client, at_the_agent = done.stdout.splitlines()
    assert first == "None"
    assert "of agent" in at_the_client
    assert "it belongs to another user" in at_the_client
    assert at_the_agent == "process 1: it belongs to another user"

"""The backend keeps gencore's rules with a real sidecar, and says what is wrong without one."""

import contextlib
import os
import socket
import stat
import subprocess
import sys
import threading

import pytest

from gencore import (
    Collector,
    CoreFailed,
    CoreSink,
    DumpRequest,
    Pipeline,
    create_core,
    exclude,
)
from gencore.corefile import CoreFile
from gencore.testing import BackendContract
from gencore_sidecar.backend import Sidecar
from gencore_sidecar.protocol import is_trusted

STRANGER = 12345


@contextlib.contextmanager
def sidecar_at(path):
    """Start a sidecar, wait until it is ready, and end it."""
    command = [sys.executable, "-m", "gencore_sidecar.server", "--socket", path]
    environment = {**os.environ, "TMPDIR": path.parents[1]}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout.readline() == f"ready at {path}\n"
            yield process
        finally:
            process.terminate()


@contextlib.contextmanager
def as_stranger():
    """Be another user, as the kernel sees it."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.seteuid(STRANGER)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def path(tmp_path_factory, monkeypatch):
    """Return where the sidecar's socket is, as the environment tells the backend."""
    path = tmp_path_factory.mktemp("s") / "private" / "socket"
    monkeypatch.setenv("GENCORE_SIDECAR", str(path))
    return path


@pytest.fixture
def sidecar(path):
    """Run a sidecar there."""
    with sidecar_at(path) as process:
        yield process


@pytest.mark.usefixtures("sidecar")
class TestSidecar(BackendContract):
    @pytest.fixture
    def backend(self):
        return Sidecar()


class TestNoSidecar(BackendContract):
    capabilities = frozenset()

    @pytest.fixture
    def backend(self):
        return Sidecar("/nonesuch")


def why_not(request=None):
    """Return the backend's one reason, which has a remedy."""
    (reason,) = Sidecar().probe(request or DumpRequest()).reasons
    assert reason.remedy
    return reason.text


def test_without_a_sidecar_it_says_what_is_missing(path, monkeypatch):
    """The socket, or the variable that names it."""
    assert "No such file" in why_not()
    monkeypatch.delenv("GENCORE_SIDECAR")
    assert why_not() == "GENCORE_SIDECAR is not set"
    assert not path.exists()


def test_a_sidecar_that_does_not_answer_is_given_up(path):
    """After a second: the probe is asked before every dump."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()

        assert "timed out" in why_not()


@pytest.mark.usefixtures("sidecar")
def test_what_gcore_cannot_leave_out_is_refused(tmp_path):
    """Other contents by the probe; what a caller excluded before anything is written."""
    assert "full" in why_not(DumpRequest(content="stacks"))
    with exclude(bytearray(b"secret")), pytest.raises(CoreFailed, match="exclude"):
        create_core(backend="sidecar", directory=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("sidecar")
def test_the_core_is_of_this_process(tmp_path):
    """The kernel tells the sidecar who asks; its other threads are there too."""
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        core = create_core(backend="sidecar", directory=tmp_path)
    finally:
        done.set()
        other.join()

    with CoreFile(core) as found:
        assert {threading.get_native_id(), other.native_id} <= set(found.thread_ids)


@pytest.mark.usefixtures("sidecar")
def test_the_socket_is_for_its_owner_alone(path):
    """By its mode, and by that of its directory."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_directory_that_is_open_to_others_is_refused(path):
    """The sidecar does not start there."""
    path.parent.mkdir(mode=0o755)

    with pytest.raises(AssertionError), sidecar_at(path):
        pass

    assert not path.exists()


def test_a_sidecar_of_another_user_is_not_asked(path):
    """Whoever it is."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as impostor:
        impostor.bind(str(path))
        with as_stranger():
            impostor.listen()

        assert "the socket belongs to another user" in why_not()


@pytest.mark.usefixtures("sidecar")
def test_another_user_is_not_answered(path, monkeypatch):
    """Even where somebody opened the directory and the socket to all."""
    path.parent.chmod(0o755)
    path.chmod(0o666)
    monkeypatch.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as client:
        with as_stranger():
            client.connect("socket")

        client.settimeout(10)
        with contextlib.suppress(BrokenPipeError):
            client.sendall(b"dump\n")
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""


def test_trust_is_of_the_same_user_and_root():
    """Of nobody else."""
    with contextlib.ExitStack() as stack:
        own = [stack.enter_context(end) for end in socket.socketpair()]
        assert is_trusted(own[0])
        with as_stranger():
            strangers = [stack.enter_context(end) for end in socket.socketpair()]
            assert is_trusted(strangers[0])
            assert is_trusted(own[0])
        assert not is_trusted(strangers[0])


class EndsTheSidecar(Collector, CoreSink):
    """Ends the sidecar as soon as the core begins to come."""

    name = "ends-the-sidecar"
    api_version = (1, 1)
    process: subprocess.Popen

    def begin(self, dump):
        self.file = dump.create("copy")
        return self

    def write(self, chunk):
        self.process.kill()
        self.process.wait()
        self.file.write(chunk)

    def abort(self):
        self.file.close()

    def finish(self, dump):
        """Do no more: the file is the artefact."""


def test_a_sidecar_that_ends_early_makes_the_dump_partial(sidecar, tmp_path, monkeypatch):
    """What came is kept, and the report says how much is missing."""
    monkeypatch.setattr(EndsTheSidecar, "process", sidecar, raising=False)

    report = Pipeline(backend="sidecar", collectors=[EndsTheSidecar], directory=tmp_path).run()

    assert report.result == "partial"
    assert "the sidecar exited after" in report.failed[0].reason


def test_nothing_is_left_where_the_sidecar_works(path, tmp_path):
    """No core stays in its directory for temporary files, and it finishes before it ends."""
    with sidecar_at(path) as process:
        create_core(backend="sidecar", directory=tmp_path)

    assert process.returncode == 0
    assert list(path.parents[1].iterdir()) == [path.parent]

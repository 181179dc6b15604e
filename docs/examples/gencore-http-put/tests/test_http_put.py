"""The destination keeps gencore's rules with a real server, and says what is wrong without."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gencore import DestinationSpec, Pipeline, Refused
from gencore.testing import DestinationContract, SimulatedBackend
from gencore_http_put import HttpPut

SERVER = Path(__file__).with_name("put_server.py")
NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def kept(tmp_path_factory):
    """Return the server's own directory."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture
def server(kept, monkeypatch):
    """Run a server that asks for a token; return its URL."""
    monkeypatch.setenv("TOKEN", "Bearer secret")
    command = [sys.executable, SERVER, kept]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/dumps/"
        finally:
            process.terminate()


@pytest.fixture
def token(tmp_path_factory):
    """Return a file with the token."""
    path = tmp_path_factory.mktemp("secrets") / "token"
    path.write_text("secret\n")
    return path


class TestHttpPut(DestinationContract):
    @pytest.fixture
    def destination(self, server, kept, token):
        self.kept = kept
        return functools.partial(HttpPut, url=server, token_file=token)

    def read(self, location):
        return (self.kept / location.rpartition("/")[2]).read_bytes()

    def names(self):
        return os.listdir(self.kept)


def dump(directory, **options):
    """Make a dump of a core that is put there."""
    spec = DestinationSpec(HttpPut, options=options)
    return Pipeline(
        backend=SimulatedBackend(), collectors=["raw"], directory=directory, destination=spec
    ).run()


def test_a_server_that_does_not_answer_is_known_before_the_pause(tmp_path):
    """The dump is refused."""
    with pytest.raises(Refused, match="Connection refused"):
        dump(tmp_path, url=NOBODY)


def test_another_kind_of_url_is_refused(tmp_path):
    """With the kind that is expected."""
    with pytest.raises(Refused, match="unsupported") as caught:
        dump(tmp_path, url="ftp://dumps.example/orders")

    assert "https://" in caught.value.remedy


def test_the_token_must_be_readable_before_the_pause(tmp_path, server):
    """It may have been forgotten in the pod's specification."""
    with pytest.raises(Refused, match="FileNotFoundError"):
        dump(tmp_path, url=server, token_file=tmp_path / "missing")


def test_what_the_server_says_is_reported(tmp_path, server, kept, token):
    """Status and URL, of a wrong token and of a name that is taken."""
    wrong = tmp_path / "wrong"
    wrong.write_text("guess")
    (kept / "taken.core").write_bytes(b"first")
    upload = HttpPut(url=server, token_file=token).open("taken.core", None)
    upload.write(memoryview(b"second"))

    report = dump(tmp_path, url=server, token_file=wrong)
    with pytest.raises(OSError, match=r"taken\.core: 412 Precondition Failed"):
        upload.commit()

    assert "401 Unauthorized" in report.failed[0].reason
    assert (kept / "taken.core").read_bytes() == b"first"


def test_names_are_quoted(server, kept, token):
    """A dump's name may hold what a URL may not."""
    upload = HttpPut(url=server, token_file=token).open("dump@1+2.core", None)

    assert upload.commit() == f"{server}dump%401%2B2.core"
    assert os.listdir(kept) == ["dump%401%2B2.core"]

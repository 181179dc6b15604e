"""The destination ``descriptor``: what goes into an open descriptor, and touches no disk."""

import hashlib
import io
import os
import threading

import pytest

import gencore
from gencore.corefile import CoreFile


def read_all(fd, into):
    with os.fdopen(fd, "rb", buffering=0) as reader:
        into.append(reader.readall())


def dump_into_pipe(**options):
    """Return the report, and what came out of the pipe; the writing end does not block."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)
    got = []
    thread = threading.Thread(target=read_all, args=(reader, got))
    thread.start()
    with os.fdopen(writer, "wb", buffering=0) as file:
        to_pipe = gencore.DestinationSpec("descriptor", options={"file": file})
        options.setdefault("collectors", ["raw"])
        report = gencore.start(destination=to_pipe, **options).result()
    thread.join()
    return report, got[0]


@pytest.mark.parametrize(
    "backend", ["linux-elf", pytest.param("linux-sigsegv", marks=pytest.mark.exhaustive)]
)
def test_core_comes_out_of_the_pipe_whole(backend, tmp_path):
    """Size and hash of the report are those of the bytes; nothing is left on disk."""
    report, data = dump_into_pipe(directory=tmp_path, backend=backend)

    (artifact,) = report.artifacts
    assert report.result == "complete"
    assert (artifact.path, artifact.size, artifact.url[:3]) == (None, len(data), "fd:")
    assert artifact.sha256 == hashlib.sha256(data).hexdigest()
    with CoreFile(io.BytesIO(data)) as core:
        assert core.why_incomplete() is None
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "backend", ["linux-elf", pytest.param("linux-sigsegv", marks=pytest.mark.exhaustive)]
)
def test_a_bundle_comes_out_of_the_pipe_whole(backend, tmp_path, packer, open_tar):
    """With its libraries and its manifest."""
    report, data = dump_into_pipe(
        directory=tmp_path, backend=backend, collectors=["manifest", packer.name]
    )

    (artifact,) = report.artifacts
    assert (report.result, artifact.size) == ("complete", len(data))
    with open_tar(data) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"core", "manifest.json"} < names
    assert any("libc.so" in name for name in names)
    assert os.listdir(tmp_path) == []


def test_no_directory_is_needed(tmp_path):
    """The backend that writes its own core does not ask for one."""
    report, _ = dump_into_pipe(directory=tmp_path / "missing", content="stacks")

    assert report.result == "complete"


def test_kernels_core_still_needs_a_directory(tmp_path):
    """The error names it, and comes before anything is written."""
    with pytest.raises(gencore.OutputError, match="does not exist"):
        dump_into_pipe(directory=tmp_path / "missing", backend="linux-sigsegv")


def test_reader_that_goes_away_is_a_failed_part(tmp_path):
    """The process is told by an error and not by SIGPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as file:
        to_pipe = gencore.DestinationSpec("descriptor", options={"file": file})
        report = gencore.start(
            collectors=["raw"], destination=to_pipe, directory=tmp_path
        ).result()

    assert report.result != "complete"
    assert report.failed[0].reason == f"descriptor {writer}: its reader has gone"
    assert report.exit_code == gencore.ExitCode.REFUSED
    assert report.artifacts == ()

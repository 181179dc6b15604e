"""The private directory and publication."""

import errno
import os

import pytest

from gencore import OutputError
from gencore.output import Output


def write(output, name, data=b"data"):
    with output.create(name) as file:
        file.write(data)
    return file.artifact()


def test_a_file_has_its_final_name_only_when_published(tmp_path):
    """Until then it is in a hidden directory of mode 0700."""
    with Output(tmp_path, "dump") as output:
        artifact = write(output, "core")
        assert output.path.stat().st_mode & 0o777 == 0o700
        assert not (tmp_path / "dump.core").exists()

        path = output.publish(artifact)

        assert path.read_bytes() == b"data"
    assert os.listdir(tmp_path) == ["dump.core"]


def test_publishing_never_replaces_a_file(tmp_path):
    """One that stands there under the same name stays, and the error says so."""
    (tmp_path / "dump.core").write_text("mine")
    with Output(tmp_path, "dump") as output:
        artifact = write(output, "core")
        with pytest.raises(OutputError, match="exists already"):
            output.publish(artifact)

    assert (tmp_path / "dump.core").read_text() == "mine"


@pytest.mark.parametrize("there", [False, True])
def test_file_systems_without_hard_links_get_the_same_promise(tmp_path, monkeypatch, there):
    """The fallback publishes, and does not replace either."""

    def no_hard_links(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_hard_links)
    if there:
        (tmp_path / "dump.core").write_text("mine")
    with Output(tmp_path, "dump") as output:
        artifact = write(output, "core")
        if there:
            with pytest.raises(OutputError):
                output.publish(artifact)
        else:
            output.publish(artifact)

    assert (tmp_path / "dump.core").read_bytes() == (b"mine" if there else b"data")


def test_an_artifact_is_measured_and_hashed_as_it_is_written(tmp_path):
    """Size and SHA-256 are those of the bytes."""
    with Output(tmp_path, "dump") as output:
        artifact = write(output, "x", b"abc")

    assert artifact.size == 3
    assert artifact.sha256.startswith("ba7816bf")


def test_leaving_removes_subdirectories_too(tmp_path):
    """Whatever a backend left in the private directory goes."""
    with Output(tmp_path, "dump") as output:
        (output.path / "a" / "b").mkdir(parents=True)
        (output.path / "a" / "b" / "core").touch()

    assert os.listdir(tmp_path) == []

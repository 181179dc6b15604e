"""Dumps into a directory of a group, one of whose members plays tricks with what appears there."""

import os
import subprocess
import sys

import pytest

import gencore
from gencore import Collector

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")

MEMBER = """if True:
    import os, shutil, stat, sys

    folder, trick = int(sys.argv[1]), sys.argv[2]
    os.setgroups([])
    os.setgid(12345)
    os.setuid(65534)
    os.fchdir(folder)
    number = 0
    while True:
        for name in os.listdir():
            try:
                if not name.endswith(".part") or os.lstat(name).st_uid == os.geteuid():
                    continue
                os.rename(name, f"taken.{number}")
                number += 1
                if trick == "link":
                    os.symlink("/", name)
                elif trick == "directory":
                    os.mkdir(name)
                    os.chmod(name, 0o777)
            except FileNotFoundError:
                continue
            print(name, flush=True)
"""


@pytest.fixture
def member(tmp_path, let_others_in):
    """Return a function that starts a member of a directory's group; end all of them."""
    started = []

    def start(directory, trick):
        directory.mkdir()
        os.chown(directory, 0, 12345)
        directory.chmod(0o770)
        folder = os.open(directory, os.O_RDONLY)
        command = [sys.executable, "-c", MEMBER, str(folder), trick]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[folder]))
        os.close(folder)
        return started[-1]

    let_others_in(tmp_path)
    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("trick", ["link", "directory"])
@pytest.mark.parametrize("packer", ["raw", "archive"])
def test_a_member_of_the_group_cannot_make_dumps_fail(tmp_path, member, backend, packer, trick):
    """The private directory may be renamed and replaced as often as one likes."""
    directory = tmp_path / "shared"
    process = member(directory, trick)

    class Waits(Collector):
        name = "waits"
        api_version = (1, 0)

        def begin(self, dump):  # noqa: ARG002 - the contract's signature
            process.stdout.readline()

        def finish(self, dump):
            pass

    content = {"linux-elf": "stacks", "linux-sigsegv": "private"}[backend]
    report = gencore.start(
        directory=directory, backend=backend, content=content, collectors=[Waits, packer]
    ).result()

    assert (report.result, report.problems) == ("complete", ())
    assert [artifact.path.parent for artifact in report.artifacts] == [directory]
    assert all(artifact.path.stat().st_size == artifact.size for artifact in report.artifacts)
    assert not any(list(taken.iterdir()) for taken in directory.glob("taken.*"))

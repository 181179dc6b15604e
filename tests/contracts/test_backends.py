"""The backends of this distribution pass the suite that we publish for everybody's."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

from gencore.testing import BackendContract, SimulatedBackend
from gencore_backends.aix.stub import Aix
from gencore_backends.linux.agent_backend import LinuxAgent
from gencore_backends.linux.elf import LinuxElf
from gencore_backends.linux.ptrace_backend import LinuxPtrace
from gencore_backends.linux.sigsegv import LinuxSigsegv
from gencore_backends.macos.abort import MacosAbort
from gencore_backends.windows.stub import Windows


class TestLinuxElf(BackendContract):
    capabilities = frozenset({"dump", "mapped-files"})

    @pytest.fixture
    def backend(self):
        return LinuxElf()


class TestLinuxSigsegv(BackendContract):
    capabilities = frozenset({"dump", "mapped-files"})

    @pytest.fixture
    def backend(self):
        return LinuxSigsegv()


@contextmanager
def waiting(*launcher):
    """Start a program that waits; yield its process ID."""
    command = [*launcher, sys.executable, "-c", "print(flush=True); input()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        process.stdout.readline()
        yield process.pid
        process.communicate("\n")


@pytest.mark.skipif(sys.platform != "linux", reason="agents are Linux's")
class TestLinuxAgent(BackendContract):
    capabilities = frozenset({"dump", "others", "mapped-files"})

    @pytest.fixture
    def backend(self):
        return LinuxAgent()

    @pytest.fixture
    def target(self):
        with waiting(sys.executable, "-m", "gencore", "exec", "--") as pid:
            yield pid


@pytest.mark.skipif(sys.platform != "linux", reason="ptrace is Linux's")
class TestLinuxPtrace(BackendContract):
    capabilities = frozenset({"dump", "others", "mapped-files"})

    @pytest.fixture
    def backend(self):
        return LinuxPtrace()

    @pytest.fixture
    def target(self):
        with waiting() as pid:
            yield pid


class TestSimulated(BackendContract):
    @pytest.fixture
    def backend(self):
        return SimulatedBackend()


class TestAix(BackendContract):
    capabilities = frozenset()

    @pytest.fixture
    def backend(self):
        return Aix()


class TestWindows(BackendContract):
    capabilities = frozenset()

    @pytest.fixture
    def backend(self):
        return Windows()


class TestMacosAbort(BackendContract):
    capabilities = frozenset()

    @pytest.fixture
    def backend(self):
        return MacosAbort()

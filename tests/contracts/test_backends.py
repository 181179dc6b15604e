"""The backends of this distribution pass the suite that we publish for everybody's."""

import pytest

from gencore.testing import BackendContract, SimulatedBackend
from gencore_backends.aix.stub import Aix
from gencore_backends.linux.elf import LinuxElf
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

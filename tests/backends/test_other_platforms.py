"""The backends of the other platforms: import anywhere, answer with reasons."""

import platform
import sys

import pytest

from gencore import DumpRequest, Unsupported
from gencore_backends.aix.stub import Aix
from gencore_backends.linux.elf import LinuxElf
from gencore_backends.linux.sigsegv import LinuxSigsegv
from gencore_backends.macos.abort import MacosAbort
from gencore_backends.windows.stub import Windows


@pytest.mark.parametrize("backend", [Aix, MacosAbort, Windows])
def test_elsewhere_the_answer_is_no(backend):
    """On Linux each says what it is for."""
    verdict = backend().probe(DumpRequest())

    assert not verdict.ok
    assert "this is Linux, not" in verdict.reasons[0].text


@pytest.mark.parametrize("backend", [LinuxElf, LinuxSigsegv])
@pytest.mark.parametrize("name", ["darwin", "win32", "aix7"])
def test_linux_says_no_on_other_platforms(monkeypatch, backend, name):
    """Without touching /proc."""
    monkeypatch.setattr(sys, "platform", name)

    assert "not Linux" in backend().probe(DumpRequest()).reasons[0].text


@pytest.mark.parametrize(
    ("backend", "name", "interface"),
    [(Aix, "aix7", "gencore()"), (Windows, "win32", "MiniDumpWriteDump")],
)
def test_a_stub_names_the_interface_on_its_own_platform(monkeypatch, backend, name, interface):
    """And how to get a backend."""
    monkeypatch.setattr(sys, "platform", name)

    (reason,) = backend().probe(DumpRequest()).reasons

    assert interface in reason.text
    assert "install a package" in reason.remedy
    with pytest.raises(Unsupported, match="install a package"):
        backend().snapshot(DumpRequest(), None, to_file=True)


@pytest.mark.parametrize(
    ("release", "words"),
    [("5.3.18-generic", "the kernel is 5.3"), ("4.19.0", "the kernel is 4.19")],
)
def test_a_kernel_that_is_too_old_is_named(monkeypatch, release, words):
    """With the version that is needed."""
    monkeypatch.setattr(platform, "release", lambda: release)

    (reason,) = LinuxSigsegv().probe(DumpRequest()).reasons

    assert words in reason.text
    assert reason.remedy == "run it on Linux 5.4 or later"


def test_macos_without_its_native_part_says_so(monkeypatch):
    """A wheel that was made elsewhere has none."""
    monkeypatch.setattr(sys, "platform", "darwin")

    (reason,) = MacosAbort().probe(DumpRequest()).reasons

    assert "the native part is missing" in reason.text
    assert "C compiler" in reason.remedy

"""The backends of the other platforms: import anywhere, answer with reasons."""

import platform
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import pytest

from gencore import DumpRequest, Unsupported
from gencore_backends.aix.stub import Aix
from gencore_backends.linux.elf import LinuxElf
from gencore_backends.linux.sigsegv import LinuxSigsegv
from gencore_backends.macos.abort import MacosAbort
from gencore_backends.windows.stub import Windows

ROOT = Path(__file__).parents[2]


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
    [("5.3.18-generic", "kernel 5.3"), ("4.19.0", "kernel 4.19")],
)
def test_a_kernel_that_is_too_old_is_named(monkeypatch, release, words):
    """With the version that is needed."""
    monkeypatch.setattr(platform, "release", lambda: release)

    (reason,) = LinuxSigsegv().probe(DumpRequest()).reasons

    assert words in reason.text
    assert reason.remedy == "use Linux 5.4 or later"


def test_macos_without_its_native_part_says_so(monkeypatch):
    """A wheel that was made elsewhere has none."""
    monkeypatch.setattr(sys, "platform", "darwin")

    (reason,) = MacosAbort().probe(DumpRequest()).reasons

    assert "the native part is missing" in reason.text
    assert "C compiler" in reason.remedy


@pytest.mark.parametrize("backend", ["LinuxElf", "LinuxSigsegv"])
def test_a_free_threaded_python_is_refused_before_the_native_part_is_loaded(python, backend):
    """The verdict names the cause, as does the error of a dump."""
    code = """
        import json, sys
        import gencore
        from gencore_backends.linux import elf, sigsegv
        sys.abiflags = "t"
        backend = (vars(elf) | vars(sigsegv))[sys.argv[1]]()
        (reason,) = backend.probe(gencore.DumpRequest()).reasons
        try:
            gencore.create_core(backend=backend.name)
        except gencore.Unsupported as error:
            raised = str(error)
        print(json.dumps([reason.text, raised, "gencore_backends.linux._native" in sys.modules]))
    """
    text, raised, loaded = python(textwrap.dedent(code), backend)

    assert "free-threaded" in text
    assert text in raised
    assert not loaded


@pytest.mark.parametrize("folder", ["linux", "macos"])
def test_a_build_for_a_free_threaded_python_stops_with_the_reason(folder, tool):
    """Installing from source says what is missing, and not that some type is unknown."""
    source = ROOT / "backends" / "gencore_backends" / folder / "native" / "module.c"
    headers = f"-I{sysconfig.get_path('include')}"
    command = [tool("cc"), "-fsyntax-only", "-DPy_GIL_DISABLED", headers, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode
    assert "gencore needs a Python with the GIL" in done.stderr

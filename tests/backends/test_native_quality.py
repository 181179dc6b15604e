"""The native part of Linux as a compiler and a sanitizer see it."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the native part exists on Linux only", allow_module_level=True)

from gencore_backends.linux import _native

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "backends" / "gencore_backends" / "linux" / "native"
SOURCES = sorted(NATIVE.glob("*.c"))
HEADERS = ["-isystem", sysconfig.get_path("include"), "-DPy_LIMITED_API=0x030b0000"]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
UNDEFINED = ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"]

DUMPS = """if True:
    import importlib.util, json, sys

    name = "gencore_backends.linux._native"
    spec = importlib.util.spec_from_file_location(name, sys.argv[1])
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])

    import threading
    import gencore
    from gencore_backends.linux import child
    assert child._native.__file__ == sys.argv[1]
    end = threading.Event()
    for _ in range(8):
        threading.Thread(target=end.wait, daemon=True).start()
    results = []
    for backend in ("linux-elf", "linux-sigsegv"):
        for content in ("full", "private", "stacks")[: 3 if backend == "linux-elf" else 2]:
            for collector in ("raw", "archive"):
                report = gencore.start(directory=sys.argv[2], backend=backend, content=content,
                                       collectors=[collector]).result()
                results.append([report.result, *(part.reason for part in report.problems)])
    print(json.dumps(results))
"""


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_no_compiler_warns(source):
    """Neither of conversions nor of shadowed names."""
    command = ["cc", "-std=gnu11", "-O2", *WARNINGS, *HEADERS, "-c", source, "-o", "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stderr == ""


def test_dumps_are_whole_and_nothing_undefined_happens(python, tmp_path):
    """In the process and in its clone: there a fault ends the clone, and the core is cut short."""
    module = tmp_path / "_native.abi3.so"
    command = ["cc", "-std=gnu11", "-O1", "-g", "-fPIC", "-shared", *UNDEFINED, *HEADERS]
    subprocess.run([*command, *SOURCES, "-o", module], check=True)

    assert python(DUMPS, module, tmp_path) == [["complete"]] * 10


def test_functions_of_the_clone_say_so_in_their_names():
    """Whoever reads one must know that it may make system calls only."""
    text = (NATIVE / "after_fork.c").read_text()
    lines = [line for line in text.split("\n") if line.startswith(("static ", "_Noreturn "))]
    functions = [line for line in lines if "(" in line]

    assert len(functions) > 15
    assert [line for line in functions if "clone_" not in line] == []


def test_the_module_is_hardened():
    """Everything is bound and made read-only when it is loaded, and the stack is protected."""
    shown = subprocess.run(
        ["readelf", "--wide", "--dynamic", "--segments", "--dyn-syms", _native.__file__],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert "GNU_RELRO" in shown
    assert "BIND_NOW" in shown or "(FLAGS_1)            Flags: NOW" in shown
    assert "__stack_chk_fail" in shown

"""The native part of Linux as a compiler and a sanitizer see it."""

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the native part exists on Linux only", allow_module_level=True)

from gencore_backends.linux import _native

ROOT = Path(__file__).parents[3]
NATIVE = ROOT / "backends" / "gencore_backends" / "linux" / "native"
SOURCES = sorted(NATIVE.glob("*.c"))
CLONE_FUNCTION = re.compile(r"^[a-z].*\bclone_\w+\(", re.MULTILINE)
OF_THE_CLONE = [source for source in SOURCES if CLONE_FUNCTION.search(source.read_text())]
"""They have functions that run in it."""
HEADERS = ["-isystem", sysconfig.get_path("include"), "-DPy_LIMITED_API=0x030b0000"]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
PARTS = ROOT / "tests" / "native" / "clone_parts.c"
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


@pytest.mark.exhaustive
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
    """Bound and made read-only when it is loaded, with a protected stack and checked copies."""
    shown = subprocess.run(
        ["readelf", "--wide", "--dynamic", "--segments", "--dyn-syms", _native.__file__],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert "GNU_RELRO" in shown
    assert "BIND_NOW" in shown or "(FLAGS_1)            Flags: NOW" in shown
    assert "__stack_chk_fail" in shown
    assert re.search(r"__(memcpy|snprintf)_chk", shown)


@pytest.mark.parametrize("source", OF_THE_CLONE, ids=lambda path: path.name)
def test_the_clone_calls_no_checked_function(source, tmp_path):
    """One that fails writes a message through the C library, whose locks may be held for ever."""
    command = ["cc", "-std=gnu11", "-O3", "-fPIC", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
    subprocess.run([*command, *HEADERS, "-c", source, "-o", tmp_path / "object"], check=True)
    shown = subprocess.run(
        ["nm", "--undefined-only", tmp_path / "object"], capture_output=True, text=True, check=True
    ).stdout

    assert re.findall(r"__\w+_chk\b", shown) == []


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Return a function that does a part of the clone's work under both sanitizers."""
    program = tmp_path_factory.mktemp("parts") / "clone_parts"
    names = (
        "descriptors",
        "lifeline",
        "python_stacks",
        "memory_map",
        "page_map",
        "peek",
        "proc_text",
    )
    sources = [PARTS, *(NATIVE / f"{name}.c" for name in names)]
    command = ["cc", "-std=gnu11", "-O1", "-g", *WARNINGS, "-fsanitize=address", *UNDEFINED]
    subprocess.run([*command, f"-I{NATIVE}", *sources, "-o", program], check=True)

    def run(*arguments):
        done = subprocess.run(
            [program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"ASAN_OPTIONS": "detect_leaks=0"},
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return run


@pytest.mark.parametrize("listed", [[], ["listed"]], ids=["close_range", "one by one"])
@pytest.mark.parametrize("kept", ["1,2,700", "700,-1,1", "1,899,3"])
def test_all_descriptors_are_closed_but_those_that_are_kept(parts, kept, listed):
    """Also where no call closes a range of them, and no descriptor is free to list them with."""
    left = parts("descriptors", kept, *listed)

    assert left == sorted((number for number in kept.split(",") if number != "-1"), key=int)


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ("plain", "1 100 100 1 1 1 1"),
        ("circle", "1 100 100 1 1 1 1"),
        ("recursion", "1 100 100 1 1 1 1"),
        ("half-made", "1 100 100 1 1 1 1"),
        ("wild", "1 51 51 1 1 1 1"),
        ("freed", "1 51 51 1 1 1 1"),
        ("huge", "1 100 100 0 0 0 0"),
        ("none", "0 0 0 0 0 0 0"),
    ],
)
def test_python_stacks_in_any_shape_are_found_as_far_as_they_go(parts, shape, found):
    """Interpreters, states, frames, code, texts, lines, names: each to the byte, what is there."""
    assert parts("stacks", shape) == found.split()


@pytest.mark.parametrize(("whom", "told"), [("reader", "ESRCH"), ("parent", "room")])
def test_room_in_a_pipe_is_waited_for_as_long_as_its_reader_lives(parts, whom, told):
    """The writer holds the reading end itself, so that the pipe has no error."""
    assert parts("lifeline", whom) == [told]

"""A bundle is opened where nothing of the program is: debuggers find everything in the bundle.

The other machine is a root that holds gdb, lldb and pystack below one directory, each started by
a dynamic loader of its own. Not one file that the program had mapped is there under its path: not
the Python installation, not the extension, not the C library. A distribution strips the C library
and ships its names in files of their own, found by build ID: like an engineer's, the machine has
them.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

PROGRAMS = Path(__file__).parent / "programs"
TOOLS = Path("/tools")
COPY = Path("/mnt")
NAMELESS = re.compile(r".*(?: in \?\?|___lldb_unnamed_symbol).*")

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def bundle(installed, build_extension, tmp_path_factory):
    """Bundle the program with all its threads; return (bundle, what it told)."""
    folder = tmp_path_factory.mktemp("bundle")
    extension = build_extension(folder, "-fno-omit-frame-pointer")
    command = [installed[1], PROGRAMS / "every_thread.py", "linux-elf", folder, extension]
    done = subprocess.run([*command, "archive"], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    return Path(told["core"]), told


class OtherMachine:
    """A root with tools, and with a copy of a bundle that `gencore open` has unpacked."""

    def __init__(self, bwrap, gdb, lldb):
        python = Path(sys.executable).resolve()
        packages = Path(importlib.util.find_spec("pystack").origin).parents[1]
        binaries = [gdb, Path(lldb).resolve(), python, *packages.glob("pystack/*.so")]
        self.loader, libraries = needed_by(binaries)
        self._binds = {
            **{TOOLS / "lib" / path.name: path for path in libraries},
            **{TOOLS / name: path for name, path in zip(("gdb", "lldb"), binaries, strict=False)},
            TOOLS / "data": told_by(gdb, "python print(gdb.PYTHONDIR)").parent,
            TOOLS / "python": Path(sys.base_prefix),
            TOOLS / "packages": packages,
        }
        standard = told_by(gdb, "python import os; print(os.path.dirname(os.__file__))")
        self._binds[TOOLS / "embedded/lib" / standard.name] = standard
        self._python = TOOLS / "python" / python.relative_to(sys.base_prefix)
        self._bwrap = bwrap
        self.debug = told_by(gdb, "python print(gdb.parameter('debug-file-directory'))")

    def open(self, bundle, copy):
        """Unpack a bundle into the directory *copy*, which becomes `COPY` there."""
        self._binds[COPY] = self._copy = copy
        self._bundle = bundle
        self._gdb, self._lldb = self._command_line(), self._command_line("--lldb")
        *_, self.executable, _, self.core = self._gdb
        self.folder = Path(self.core).parent
        self.unpacked = copy / self.folder.relative_to(COPY)

    def _command_line(self, *options):
        """Return what `gencore open` would start."""
        command = [sys.executable, "-m", "gencore", "open", "--json", *options, self._bundle]
        environment = {**os.environ, "XDG_CACHE_HOME": str(self._copy)}
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        words = json.loads(done.stdout)["command"]
        return [word.replace(str(self._copy), str(COPY)) for word in words]

    def gdb(self, *arguments, debug=True):
        """Run gdb; without *debug* nobody has installed the names of the C library there."""
        _, *options = self._gdb
        data = f"--data-directory={TOOLS / 'data'}"
        return self._run(TOOLS / "gdb", data, *options, *arguments, home="embedded", debug=debug)

    def lldb(self, *arguments):
        _, *options = self._lldb
        return self._run(TOOLS / "lldb", *options, *arguments, home="embedded")

    def python(self, *arguments):
        return self._run(self._python, *arguments, home="python")

    def _run(self, program, *arguments, home, debug=True):
        environment = {"PYTHONHOME": TOOLS / home, "PYTHONPATH": TOOLS / "packages"}
        options = ["--clearenv", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        for name, value in environment.items():
            options += ["--setenv", name, value]
        files = {self.debug: self.debug} if debug else {}
        for place, path in {**self._binds, **files}.items():
            options += ["--ro-bind", path, place]
        loader = [TOOLS / "lib" / self.loader, "--library-path", TOOLS / "lib", program]
        command = [self._bwrap, *options, "--", *loader, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def needed_by(binaries):
    """Return the name of the dynamic loader, and all that it maps for these programs."""
    shown = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=True).stdout
    loader = Path(re.search(r"^\t(/\S+) \(0x", shown, re.MULTILINE)[1])
    found = {Path(path) for path in re.findall(r" => (/\S+) \(0x", shown)}
    return loader.name, [loader, *found]


def told_by(gdb, command):
    """Return a path that gdb prints."""
    command = [gdb, "-nx", "-batch", "-ex", command]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


@pytest.fixture(scope="module")
def elsewhere(bundle, tmp_path_factory, tool):
    """Open the bundle on the other machine."""
    machine = OtherMachine(tool("bwrap"), tool("gdb"), tool("lldb"))
    if not (machine.debug / ".build-id").exists():
        pytest.skip("the names of the C library are not installed: libc6-dbg")
    machine.open(bundle[0], tmp_path_factory.mktemp("copy"))
    return machine


def test_nothing_that_the_program_had_mapped_is_there(elsewhere):
    """What the other tests find, they find in the bundle."""
    manifest = json.loads((elsewhere.unpacked / "manifest.json").read_text())
    mapped = [row["path"] for row in manifest["libraries"]]
    code = "import json, os, sys; print(json.dumps([*filter(os.path.exists, sys.argv[1:])]))"

    assert any("/libc.so" in path for path in mapped)
    assert len(mapped) > 10
    assert json.loads(elsewhere.python("-c", code, *mapped)) == []


def test_gdb_names_every_frame(bundle, elsewhere):
    """No ?? in any thread, and every library is the bundle's."""
    shown = elsewhere.gdb("-batch", "-ex", "thread apply all bt", "-ex", "info sharedlibrary")

    stacks = re.split(r"^Thread \d+ .*$", shown, flags=re.MULTILINE)[1:]
    assert len(stacks) == len(bundle[1]["threads"]) + 1
    assert NAMELESS.findall(shown) == []
    for stack in stacks:
        assert re.search(r" in (start_thread|clone3|_start) ", stack), stack
    loaded = [line for line in shown.splitlines() if re.match(r"0x\w+ +0x\w+ +Yes", line)]
    assert len(loaded) > 10
    assert all(str(elsewhere.folder) in line for line in loaded)


def test_gdb_without_debug_files_names_all_but_what_is_stripped(bundle, elsewhere):
    """It unwinds as far as with them."""
    outermost = ("-batch", "-ex", "thread apply all backtrace -1")
    address = re.compile(r"^#\d+ +(0x\w+) in", re.MULTILINE)
    _, *named = address.findall(elsewhere.gdb(*outermost))  # gdb begins with where it stands

    assert len(named) == len(bundle[1]["threads"]) + 1
    assert address.findall(elsewhere.gdb(*outermost, debug=False))[1:] == named
    nameless = NAMELESS.findall(elsewhere.gdb("-batch", "-ex", "thread apply all bt", debug=False))
    assert nameless
    for frame in nameless:
        library = elsewhere.unpacked / Path(frame.partition(" from ")[2]).relative_to(
            elsewhere.folder
        )
        with library.open("rb") as file:
            assert ELFFile(file).get_section_by_name(".symtab") is None, frame


def test_lldb_names_every_frame(bundle, elsewhere):
    """The same in LLDB, which gives a name of its own to what has none."""
    shown = elsewhere.lldb("--batch", "-o", "thread backtrace all")

    stacks = re.split(r"thread #\d+", shown.partition("thread backtrace all")[2])[1:]
    assert len(stacks) == len(bundle[1]["threads"]) + 1
    assert NAMELESS.findall(shown) == []
    for frame in re.findall(r"frame #\d+: .*", shown):
        assert "`" in frame, frame  # module`function


def test_pystack_merges_every_thread(bundle, elsewhere):
    """With an interpreter of that machine's own."""
    options = ("--native", "--lib-search-root", elsewhere.folder)
    command = ("-m", "pystack", "--no-color", "core", *options)
    shown = elsewhere.python(*command, elsewhere.core, elsewhere.executable)

    found = {int(tid) for tid in re.findall(r"^Traceback for thread (\d+) ", shown, re.MULTILINE)}
    assert found == {*bundle[1]["threads"].values(), bundle[1]["main"]}
    assert "Unable to merge" not in shown
    assert NAMELESS.findall(shown) == []
    for function in bundle[1]["threads"]:
        assert f"in {function}" in shown


def test_verify_finds_every_library(bundle):
    """Of 3.11, 3.12 and 3.13, from a virtual environment."""
    command = [sys.executable, "-m", "gencore", "verify", "--json", bundle[0]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert json.loads(done.stdout)["checks"] == [
        {"name": name, "ok": True, "problems": []}
        for name in ("archive", "hashes", "core", "libraries")
    ]

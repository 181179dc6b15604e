"""Whatever has a core in it is opened in one way, and gives as much as it has."""

import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from gencore.bundle.opening import open_core
from gencore.errors import IntegrityError, UsageError

PROGRAM = """
import ctypes, os, resource, sys, threading
import gencore

def worker():
    threading.Event().wait()

threading.Thread(target=worker, name="payments", daemon=True).start()
plugin = ctypes.CDLL(sys.argv[1])
common = {"directory": ".", "content": "private"}
print(
    gencore.create_core(**common),
    gencore.collect_core(**common),
    gencore.collect_core(collectors=["manifest", "archive-zstd"], **common),
    flush=True,
)
sys.stdin.readline()
_, hard = resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
os.abort()
"""
RAW = ("gencore", "gcore", "kernel")


@pytest.fixture(scope="module")
def made(tmp_path_factory, tool):
    """Return the cores of one process: three of gencore, one of gcore, one of the kernel."""
    folder = tmp_path_factory.mktemp("cores")
    plugin = folder / "plugin.so"
    shutil.copy(find_spec("_heapq").origin, plugin)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, plugin],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        core, bundle, zstd_bundle = map(Path, process.stdout.readline().split())
        command = [tool("gcore"), "-o", "gcore", str(process.pid)]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        process.communicate("\n")
    kernel = [file for file in folder.glob("core*") if file not in {core, bundle, zstd_bundle}]
    return {
        "pid": process.pid,
        "plugin": plugin,
        "bundle": bundle,
        "zstd-bundle": zstd_bundle,
        "gencore": core,
        "gcore": folder / f"gcore.{process.pid}",
        "kernel": kernel[0] if kernel else None,
    }


@pytest.fixture
def raw(request, made):
    """Return the core that the test's parameter names."""
    return made[request.param] or pytest.skip("kernel.core_pattern names no file here")


@pytest.fixture
def cli(inside, monkeypatch, tmp_path):
    """Return a function that runs the command line, with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return inside


ZSTD = """
import sys, zstandard
with open(sys.argv[1], "rb") as core, open(sys.argv[2], "wb") as file:
    zstandard.ZstdCompressor(level=1).copy_stream(core, file)
"""


def to_gzip(core, path):
    path.write_bytes(gzip.compress(core.read_bytes(), 1))


def to_zstd(core, path):
    subprocess.run([sys.executable, "-c", ZSTD, core, path], check=True)


@pytest.fixture
def compressed(made, tmp_path):
    """Return a function that compresses a core."""

    def compress(suffix):
        path = tmp_path / f"one.core.{suffix}"
        {"gz": to_gzip, "zst": to_zstd}[suffix](made["gencore"], path)
        return path

    return compress


@pytest.fixture
def program(tool, cli):
    """Return the same as `cli` for that suffix: zstandard is too large for this process."""
    command = tool("gencore")

    def run(*arguments):
        done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return {"gz": cli, "zst": run}


@pytest.mark.parametrize("raw", RAW, indirect=True)
def test_a_core_alone_is_read_with_the_files_of_this_machine(cli, made, raw):
    """By every command, whoever made the core."""
    told = json.loads(cli("info", "--json", raw)[1])
    info = cli("info", raw)[1]
    verified = cli("verify", raw)
    stacks = cli("stacks", raw)
    opened = cli("open", "--print", raw)
    report = cli("report", raw, "-o", "report.html")

    assert (told["kind"], told["manifest"]) == ("core", None)
    assert told["core"]["process"]["pid"] == made["pid"]
    assert {thread["tid"] for thread in told["core"]["threads"]} >= {made["pid"]}
    assert {file["origin"] for file in told["mapped_files"]} == {"machine"}
    assert str(made["plugin"]) in {file["path"] for file in told["mapped_files"]}
    assert re.search(rf"^process +{made['pid']}$", info, re.MULTILINE)
    assert "lacks       the manifest" in info
    assert verified == (0, "core        ok\nlibraries   ok\n", "")
    assert stacks[0] == 0
    assert re.search(r'\(Python\) File "<string>", line 6, in worker$', stacks[1], re.MULTILINE)
    assert " (payments) " in stacks[1]
    assert opened[0] == 0
    assert str(raw) in opened[1]
    assert report[0] == 0
    assert "Generated from a core alone" in Path("report.html").read_text()


@pytest.mark.parametrize("raw", ["gcore", "kernel"], indirect=True)
def test_a_debugger_gets_only_what_belongs_to_the_core(cli, raw, tool, tmp_path):
    """Copies of this machine's files, under the names that the dynamic linker knew them by."""
    command = cli("open", "--json", "--quiet", raw)[1]
    words = json.loads(command)["command"]

    done = subprocess.run(
        [*words, "-batch", "-ex", "info sharedlibrary"], capture_output=True, text=True, check=True
    )

    assert tool("gdb")
    assert "newer than core" not in done.stderr
    assert "Could not load shared library" not in done.stderr
    shown = done.stdout
    loaded = [line for line in shown.splitlines() if re.match(r"0x\w+ +0x\w+ +Yes", line)]
    assert len(loaded) > 3
    assert all(f"{tmp_path}/cache/" in line for line in loaded)
    assert "libc.so.6" in shown


def test_the_signal_that_ended_a_process_is_shown(cli, made):
    """The kernel notes it."""
    core = made["kernel"] or pytest.skip("kernel.core_pattern names no file here")

    assert "signal      SIGABRT\n" in cli("info", core)[1]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_compressed_core_is_read_like_another(program, compressed, made, suffix):
    """Nothing of it stays on the disk."""
    path, cli = compressed(suffix), program[suffix]
    told = json.loads(cli("info", "--json", path)[1])

    assert told["core"]["process"]["pid"] == made["pid"]
    assert told["core"]["core"]["size"] == made["gencore"].stat().st_size
    assert cli("verify", path)[0] == 0
    assert "in worker\n" in cli("stacks", path)[1]
    assert list(Path("cache/gencore/bundles").iterdir()) == []


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_compressed_core_that_is_cut_off_is_truncated(program, compressed, suffix):
    """What can be decompressed is looked at."""
    path, cli = compressed(suffix), program[suffix]
    os.truncate(path, path.stat().st_size * 9 // 10)

    code, out, _ = cli("verify", path)

    assert code == 8
    assert "core        WRONG\n            truncated: " in out


def test_zstd_without_its_library_is_named(cli, compressed, monkeypatch):
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    monkeypatch.delattr("backports.zstd", raising=False)
    monkeypatch.setattr(sys, "version_info", (3, 13))

    code, _, err = cli("info", compressed("zst"))

    assert code == 2
    assert "zstd needs the package backports.zstd" in err
    assert "pip install 'gencore[zstd]'" in err


@pytest.mark.parametrize("kind", ["bundle", "zstd-bundle", "gencore"])
def test_what_was_extracted_is_read_like_a_bundle(cli, made, kind):
    """A core alone is extracted with the files of this machine, and is then complete elsewhere."""
    folder = cli("extract", made[kind], "-o", ".")[1].strip()
    told = json.loads(cli("info", "--json", folder)[1])
    stacks = cli("stacks", folder)

    assert told["kind"] == "directory"
    assert (told["manifest"] is None) == (kind == "gencore")
    facts = told["manifest"] or told["core"]
    assert facts["process"]["pid"] == made["pid"]
    origins = {file["path"]: file["origin"] for file in told["mapped_files"]}
    assert origins[facts["process"]["executable"]["path"]] == "directory"
    assert origins[str(made["plugin"])] == "directory"
    assert all(file["reason"] for file in told["mapped_files"] if file["origin"] == "missing")
    assert cli("verify", folder)[0] == 0
    assert "in worker\n" in stacks[1]
    assert "(payments)" in stacks[1]
    assert f"set sysroot {Path(folder).absolute()}'" in cli("open", "--print", folder)[1]
    assert cli("report", folder, "-o", "report.html")[0] == 0
    assert not list(Path("cache").rglob("core"))


def test_a_changed_file_of_a_directory_is_found(cli, made):
    """By its hash in the manifest, and by its build ID in the core."""
    folder = Path(cli("extract", made["bundle"])[1].strip())
    plugin = folder / str(made["plugin"]).lstrip("/")
    shutil.copy(find_spec("_bisect").origin, plugin)
    with (folder / "core").open("r+b") as core:
        core.seek(-1, os.SEEK_END)
        last = core.read()
        core.seek(-1, os.SEEK_END)
        core.write(bytes([last[0] ^ 1]))

    code, out, _ = cli("verify", folder)

    assert code == 8
    assert "core: does not match its hash in the manifest" in out
    assert "plugin.so: does not match its hash in the manifest" in out
    assert "plugin.so: build ID differs from that of the mapped file" in out


def test_a_directory_with_a_link_is_refused(cli, made):
    """A debugger would follow it to any file of this machine."""
    folder = Path(cli("extract", made["bundle"])[1].strip())
    (folder / "etc").symlink_to("/etc")

    for words in (["info"], ["verify"], ["stacks"], ["open", "--print"], ["report"]):
        code, _, err = cli(*words, folder)
        assert code == 8
        assert "a link or a device" in err


@pytest.mark.parametrize("kind", ["bundle", "zstd-bundle", "gencore"])
def test_standard_input_is_read_like_a_file(cli, made, monkeypatch, kind):
    """It is copied to the cache, and removed from there."""
    seen = []
    for words in (["info", "--json"], ["verify"], ["stacks"]):
        with made[kind].open("rb") as file:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
            code, out, _ = cli(*words, "-")
        seen.append(out)
        assert code == 0

    assert json.loads(seen[0])["kind"] == ("core" if kind == "gencore" else "bundle")
    assert "in worker\n" in seen[2]
    assert list(Path("cache/gencore/bundles").iterdir()) == []


def test_another_version_of_a_library_is_not_taken(cli, made, tmp_path):
    """Neither by stacks nor by a debugger, and it is named as missing."""
    before = made["plugin"].read_bytes()
    made["plugin"].unlink()
    told = json.loads(cli("info", "--json", made["gencore"])[1])
    (gone,) = (file for file in told["mapped_files"] if file["origin"] == "missing")
    shutil.copy(find_spec("_bisect").origin, made["plugin"])
    try:
        told = json.loads(cli("info", "--json", made["gencore"])[1])
        code, out, _ = cli("verify", made["gencore"])
        cli("open", "--print", made["gencore"])
    finally:
        made["plugin"].write_bytes(before)
    (other,) = (file for file in told["mapped_files"] if file["origin"] == "missing")

    assert gone["path"] == other["path"] == str(made["plugin"])
    assert gone["reason"] == "not on this machine: No such file or directory"
    assert other["reason"] == "this machine has another version of it"
    assert told["lacks"][0] == f"1 of {len(told['mapped_files'])} mapped files: {made['plugin']}"
    assert code == 8
    assert f"{made['plugin']}: this machine has another version of it" in out
    assert not list((tmp_path / "cache").rglob("plugin.so"))


AUTOMOUNTED = """
import ctypes, json, os, select, subprocess, sys
folder, core = sys.argv[1:]
NEWNS, REC, PRIVATE = 0x20000, 0x4000, 0x40000
libc = ctypes.CDLL(None, use_errno=True)
asked, daemon = os.pipe()
options = f"fd={daemon},pgrp={os.getpgrp()},minproto=5,maxproto=5,indirect"
for done in (
    libc.unshare(NEWNS),
    libc.mount(b"none", b"/", None, REC | PRIVATE, None),
    libc.mount(b"test", folder.encode(), b"autofs", 0, options.encode()),
):
    if done:
        sys.exit(os.strerror(ctypes.get_errno()))
command = [sys.executable, "-m", "gencore", "info", "--json", core]
reader = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)  # else: ours
from_reader = reader.stdout.fileno()
if asked in select.select([asked, from_reader], [], [])[0]:
    reader.kill()
    sys.exit("the automounter was asked")
files = json.load(reader.stdout)["mapped_files"]
print(*(file["reason"] for file in files if file["path"].startswith(folder)))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")
def test_no_path_of_a_core_makes_this_machine_mount_another(made, tmp_path):
    """autofs(5) would: with a mount on the machine that somebody has written into the path."""
    core = tmp_path / "core"
    core.hardlink_to(made["gencore"])
    command = [sys.executable, "-c", AUTOMOUNTED, made["plugin"].parent, core]

    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.stderr == ""
    assert "its path is not that of a file" in done.stdout


def test_a_truncated_core_is_named_as_such(cli, made, tmp_path):
    """What can be read is shown."""
    half = tmp_path / "half.core"
    half.write_bytes(made["gencore"].read_bytes()[: made["gencore"].stat().st_size // 2])

    code, out, _ = cli("verify", half)

    assert code == 8
    assert "core        WRONG\n            truncated: " in out
    assert "incomplete  truncated: " in cli("info", half)[1]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "neither a bundle nor a core file"),
        (b"text", "neither a bundle nor a core file"),
        (b"\x7fELF", "file: not an ELF file"),
        (b"\x1f\x8b" + bytes(40), "file: not a bundle, or truncated"),
        (gzip.compress(b"text", mtime=0), "file: not a bundle, or truncated"),
    ],
)
def test_what_has_no_core_in_it_is_refused(tmp_path, content, says):
    """In one line that says what it is not."""
    path = tmp_path / "file"
    path.write_bytes(content)

    with pytest.raises(IntegrityError, match=says), open_core(path):
        pass


@pytest.mark.parametrize(
    "content", [b"\x28\xb5\x2f\xfd" + bytes(40), b"\x28\xb5\x2f\xfd\x20\x04\x21\0\0text"]
)
def test_what_zstd_has_no_core_in_is_refused(program, tmp_path, content):
    """Be it compressed, or begin like that only."""
    path = tmp_path / "file"
    path.write_bytes(content)

    code, _, err = program["zst"]("info", path)

    assert code == 8
    assert "file: not a bundle, or truncated" in err


def test_an_executable_is_no_core(tmp_path):
    """Though it is an ELF file too."""
    with (
        pytest.raises(IntegrityError, match="an ELF file, but not a core"),
        open_core(sys.executable),
    ):
        pass
    with pytest.raises(IntegrityError, match="not an extracted bundle"), open_core(tmp_path):
        pass


@pytest.mark.parametrize("content", [b"text", b"\x7fELF", gzip.compress(b"text", mtime=0)])
def test_errors_name_standard_input(monkeypatch, tmp_path, content):
    """And neither its copy in the cache nor a remedy for that, which is gone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    with pytest.raises(IntegrityError, match=r"^standard input: ") as refused, open_core("-"):
        pass

    assert str(tmp_path) not in str(refused.value)


def test_a_terminal_is_no_input(monkeypatch):
    """Nobody types a core."""
    ours, others = os.openpty()
    with os.fdopen(ours), os.fdopen(others) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with pytest.raises(UsageError, match="standard input is a terminal"), open_core("-"):
            pass

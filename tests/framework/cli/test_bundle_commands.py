"""The commands that read bundles, as a person or a script uses them."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import gencore
from gencore.bundle import streamed_member
from gencore.bundle.reader import BundleReader
from gencore.cli.reader_process import Reading
from gencore.corefile import CoreFile


@pytest.fixture
def cli(inside, monkeypatch, tmp_path):
    """Return a function that runs the command line, with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return inside


def test_list_shows_every_bundle_and_what_is_wrong_with_it(cli, bundle, pid, tmp_path):
    """One that is damaged is a row too."""
    os.link(bundle, tmp_path / bundle.name)
    (tmp_path / "broken\x1b.tar.gz").write_bytes(b"nonsense")

    code, out, _ = cli("list", tmp_path)
    rows = json.loads(cli("list", tmp_path, "--json")[1])["bundles"]

    assert code == 0
    assert [row["error"] is None for row in rows] == [False, True]
    assert rows[1]["result"] == "complete"
    assert rows[1]["pid"] == pid
    assert bundle.name in out
    assert "\x1b" not in out


def test_info_tells_what_a_bundle_is(cli, bundle, pid):
    """Without reading the core: most of the bundle may be missing on a slow disk."""
    code, out, _ = cli("info", bundle)
    told = json.loads(cli("info", bundle, "--json")[1])

    assert code == 0
    assert "result      complete" in out
    assert told["manifest"]["process"]["pid"] == pid
    assert {"core", "manifest.json"} <= {member["path"] for member in told["members"]}
    assert "core" in cli("info", bundle, "--files")[1].splitlines()[-len(told["members"])]


@pytest.mark.usefixtures("small")
def test_names_that_are_no_text_are_escaped(cli, tmp_path):
    """A terminal gets no control characters; the file keeps its name."""
    hostile = tmp_path / "a\x1b[2J\n\r\x0b\x85\u2028\udcff.so"
    shutil.copy(importlib.util.find_spec("_heapq").origin, hostile)
    code = "import ctypes, sys, gencore; ctypes.CDLL(sys.argv[1]); gencore.collect_core()"
    subprocess.run([sys.executable, "-c", code, hostile], cwd=tmp_path, check=True)
    (path,) = tmp_path.glob("*.tar.gz")

    shown = [cli("info", path, "--files"), cli("verify", path), cli("stacks", path)]

    assert [code for code, _, _ in shown] == [0, 0, 0]
    assert "a\\x1b[2J\\n\\r\\x0b\\x85\\u2028\\udcff.so" in shown[0][1]
    for _, out, err in shown:
        assert "\x1b" not in out + err


def test_verify_finds_everything_in_order(cli, bundle):
    """Archive, hashes, core, libraries."""
    code, out, _ = cli("verify", bundle)
    told = json.loads(cli("verify", bundle, "--json")[1])

    assert code == 0
    assert out.count("ok") == 4
    assert told["ok"]
    assert [check["name"] for check in told["checks"]] == [
        "archive",
        "hashes",
        "core",
        "libraries",
    ]


@pytest.mark.parametrize(("kept", "again"), [(streamed_member._KEPT, 0), (0, 1)])
def test_verify_reads_the_core_once_if_it_can(cli, bundle, monkeypatch, kept, again):
    """Only where the core leads far backwards is it read again, to the same result."""
    opened = []
    whole, read_header = BundleReader.open, CoreFile._read_header

    def reading_ahead(self):
        self._file.seek(4096)
        self._file.read(1)
        return read_header(self)

    def counting(self, path):
        opened.append(path)
        return whole(self, path)

    monkeypatch.setattr(streamed_member, "_KEPT", kept)
    monkeypatch.setattr(BundleReader, "open", counting)
    monkeypatch.setattr(CoreFile, "_read_header", reading_ahead)

    code, out, _ = cli("verify", bundle)

    assert code == 0
    assert out.count("ok") == 4
    assert opened.count("core") == again


def test_verify_ends_with_8_where_a_library_is_missing_or_another(cli, tmp_path, monkeypatch):
    """What the core maps must be there, and be what was mapped."""
    from gencore import libraries

    describe = libraries.describe

    def without_or_other(file, *rest):
        if "/libc.so.6" in file.path:
            return libraries.Library(path=file.path, status="skipped", reason="gone")
        if "/libm.so.6" in file.path:
            file = gencore.MappedFile(path=file.path, read_from=sys.executable)
        return describe(file, *rest)

    monkeypatch.setattr("gencore._pipeline.state.describe", without_or_other)
    path = gencore.start(directory=tmp_path, content="stacks").result().path_of("archive")
    monkeypatch.undo()

    code, out, _ = cli("verify", path)

    assert code == 8
    assert "libc.so.6: mapped in the core, but missing from the bundle" in out
    assert "libm.so.6: build ID differs from that of the mapped file" in out


def test_extract_takes_names(cli, bundle, tmp_path):
    """And prints where it put them."""
    code, out, _ = cli("extract", bundle, "manifest.json", "-o", tmp_path)

    assert code == 0
    assert os.listdir(out.strip()) == ["manifest.json"]


@pytest.mark.parametrize(
    "command", ["info", "verify", "extract", "stacks", "open", "report", "list"]
)
def test_a_wrong_path_is_a_wrong_use(cli, tmp_path, command):
    """Of every command."""
    code, out, err = cli(command, tmp_path / "none")

    assert (code, out) == (2, "")
    assert "does not exist" in err


def test_list_looks_where_dumps_go_and_sorts_by_time(cli, tmp_path, monkeypatch, write_bundle):
    """Whatever the names of the bundles."""
    moments = {"a-newer": "2026-01-02T00:00:00Z", "z-older": "2026-01-01T00:00:00Z"}
    for name, moment in moments.items():
        manifest = json.dumps({"created_at": moment}).encode()
        write_bundle(tmp_path / f"{name}.tar.gz", {"manifest.json": manifest})
    monkeypatch.setenv("GENCORE_DIRECTORY", str(tmp_path))

    rows = json.loads(cli("list", "--json")[1])["bundles"]

    assert [Path(row["path"]).name for row in rows] == ["z-older.tar.gz", "a-newer.tar.gz"]


@pytest.fixture
def week(tmp_path, write_bundle):
    """Write bundles of two services: one from long ago, and one of now."""
    manifests = {
        "old": {
            "created_at": "2026-01-01T00:00:00.000000Z",
            "process": {"pid": 7},
            "annotations": {"service": "orders", "incident": "INC-7"},
            "trigger": {"reason": "a \x1b leak"},
        },
        "now": {
            "created_at": datetime.now(UTC).isoformat(),
            "process": {"pid": 8},
            "service": {"name": "payments"},
        },
        "odd": {"created_at": "yesterday", "process": {"pid": "7"}, "annotations": []},
    }
    for name, manifest in manifests.items():
        content = {"manifest.json": json.dumps(manifest).encode()}
        write_bundle(tmp_path / f"{name}.tar.gz", content)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), ["odd", "old", "now"]),
        (("--since", "1h"), ["now"]),
        (("--since", "2025-12-31"), ["old", "now"]),
        (("--since", "2026-01-01T03:00+02:00"), ["now"]),
        (("--service", "or*"), ["old"]),
        (("--service", "payments"), ["now"]),
        (("--pid", "7"), ["old"]),
        (("--pid", "7", "--service", "payments"), []),
    ],
)
def test_list_has_filters(cli, week, options, names):
    """What a manifest does not say, or says in another type, matches nothing."""
    rows = json.loads(cli("list", week, *options, "--json")[1])["bundles"]

    assert [Path(row["path"]).name.removesuffix(".tar.gz") for row in rows] == names


def test_list_reports_a_configured_directory_that_is_missing(cli, monkeypatch, tmp_path):
    """An empty list would look like no dump."""
    monkeypatch.setenv("GENCORE_DIRECTORY", str(tmp_path / "none"))

    code, out, err = cli("list")

    assert (code, out) == (2, "")
    assert "none' does not exist" in err


@pytest.mark.parametrize("since", ["soon", "2026-13-01", "", "99999999w"])
def test_an_instant_that_means_nothing_is_wrong_usage(cli, week, since):
    """With a remedy that shows one."""
    code, _, err = cli("list", week, "--since", since)

    assert code == 2
    assert f"invalid --since: {since!r} (expected an age or an instant)" in err
    assert "remedy: write it like this: 2h" in err


def test_whose_a_bundle_is_and_why_it_was_made_comes_first(cli, week):
    """`list` has the service and the reason; `info` has every annotation too."""
    listed = cli("list", week)[1]
    told = cli("info", week / "old.tar.gz")[1]

    assert "7  orders  a \\x1b leak\n" in listed
    assert "8  payments\n" in listed
    assert told.startswith("service     orders\nreason      a \\x1b leak\n")
    assert "annotation  incident: INC-7\n" in told


@pytest.mark.parametrize(
    ("output", "says"), [("/dev/full", "standard output: No space left on device"), ("|true", "")]
)
def test_output_that_cannot_be_written_is_no_traceback(bundle, output, says):
    """A full disk is named; a reader that has had enough knows."""
    words = [sys.executable, "-m", "gencore", "info", "--files", bundle]
    line = shlex.join(map(str, words)) + (output if output[0] == "|" else f" > {output}")
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True, check=False
    )

    assert done.stderr == (f"gencore: {says}\n" if says else "")
    assert done.returncode == 1 or not says


@pytest.mark.usefixtures("small")
def test_stacks_print_no_line_of_the_readers_files(cli, tmp_path):
    """A frame may name any of them, which the bundle has not."""
    secret = tmp_path / "secret"
    code = f"""if True:
        import gencore, sys
        names = {{"gencore": gencore, "sys": sys}}
        dump = "def spy():\\n    print(gencore.collect_core(directory=sys.argv[1]))\\n"
        exec(compile(dump, {str(secret)!r}, "exec"), names)
        names["spy"]()
    """
    command = [sys.executable, "-c", code, tmp_path]
    path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    secret.write_text("first\nSECRET of the reader\n")

    code, out, _ = cli("stacks", path)

    assert (code, "SECRET" in out) == (0, False)
    assert ", in spy" in out


@pytest.mark.parametrize("command", ["info", "verify", "extract", "stacks", "open"])
def test_what_is_no_bundle_ends_with_8_and_leaves_nothing(cli, tmp_path, monkeypatch, command):
    """Half a download, for instance."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half.tar.gz").write_bytes(b"half" * 100)

    code, _, err = cli(command, "half.tar.gz")

    assert code == 8
    assert "neither a bundle nor a core file" in err
    assert os.listdir(tmp_path) == ["half.tar.gz"]


def test_extract_reports_a_missing_directory(cli, bundle, tmp_path):
    """What is wrong with it, and what to do."""
    code, _, err = cli("extract", bundle, "-o", tmp_path / "none")

    assert code == 4
    assert "none: does not exist (ENOENT)\n  remedy: create the directory" in err


def test_a_truncated_bundle_is_named_with_a_remedy_to_paste(cli, bundle, tmp_path):
    """Without a placeholder, and once in a list."""
    half = tmp_path / "half of it.tar.gz"
    half.write_bytes(bundle.read_bytes()[:-1000])

    code, _, err = cli("info", half)
    _, listed, _ = cli("list", tmp_path)

    assert code == 8
    assert f"{half}: not a bundle, or truncated: " in err
    assert f"tar xf '{half}'" in err
    assert listed.count(half.name) == 1


@pytest.mark.parametrize("words", [["verify"], ["extract"], ["why"], ["heap"]])
def test_a_damaged_bundle_is_named_by_its_path(cli, bundle, tmp_path, words, monkeypatch):
    """Whoever checks many, or compares two, sees which one it is."""
    monkeypatch.chdir(tmp_path)
    damaged = bytearray(bundle.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.tar.gz").write_bytes(damaged)

    code, _, err = cli(*words, "damaged.tar.gz")

    assert code == 8
    assert err.startswith("gencore: damaged.tar.gz: ")
    assert "the compressed data is corrupt" in err


def test_a_bundle_without_a_manifest_says_how_to_read_it(cli, tmp_path, monkeypatch):
    """The folder in it is read without: so is one of a bundle that was cut off."""
    monkeypatch.chdir(tmp_path)
    made = gencore.Pipeline(collectors=["archive"], content="stacks", directory=".").run()
    path = made.path_of("archive")

    code, _, err = cli("info", path)
    assert (code, err.partition("remedy: ")[2]) == (
        8,
        f"read the folder that this makes: gencore extract {path}\n",
    )
    assert cli("extract", path)[0] == 0
    assert "lacks       the manifest: " in cli("info", made.name)[1]


def test_open_prints_the_command_line_and_uses_the_copy_again(cli, bundle, tmp_path):
    """Until it is removed."""
    (first, out, _), (_, again, _) = (cli("open", bundle, "--print") for _ in range(2))
    copies = list((tmp_path / "cache/gencore/bundles").iterdir())

    assert first == 0
    assert out == again
    assert "-nx" in out
    assert "set auto-load off" in out
    assert len(copies) == 1
    assert copies[0].stat().st_mode & 0o777 == 0o700
    assert cli("cache", "clear")[0] == 0
    assert list((tmp_path / "cache/gencore/bundles").iterdir()) == []


def test_open_starts_the_debugger_with_further_arguments(bundle, tmp_path, tool):
    """Those behind the two hyphens; every library comes out of the bundle."""
    command = [sys.executable, "-m", "gencore", "open", bundle, "--", "-batch"]
    done = subprocess.run(
        [*command, "-ex", "info sharedlibrary"],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert tool("gdb")
    loaded = [line for line in done.stdout.splitlines() if "Yes" in line]

    assert len(loaded) > 10
    assert all(f"{tmp_path}/gencore/bundles/" in line for line in loaded)


def test_open_without_the_debugger_says_so(cli, bundle, monkeypatch):
    """With the remedy; nobody else's traceback."""
    monkeypatch.setenv("PATH", "")

    code, _, err = cli("open", bundle)

    assert code == 2
    assert "gdb is not installed" in err


def test_stacks_come_from_the_core(cli, bundle, pid, monkeypatch):
    """Without pystack, too."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pystack" else found(name)
    )

    code, out, err = cli("stacks", "--quiet", bundle)

    assert (code, err) == (0, "")
    assert f"Traceback for thread {pid} (MainThread) [Has the GIL] (most recent" in out
    assert re.search(r'^    \(Python\) File ".*", line \d+, in bundle$', out, re.MULTILINE)


def test_stacks_are_those_of_the_manifest_if_the_core_has_none(cli, bundle, pid, monkeypatch):
    """A line says so, and the exit code."""
    monkeypatch.setattr(
        "gencore.cli.stacks.ask", lambda *_: Reading(None, "stacks \x1b failed", ())
    )

    code, out, err = cli("stacks", "--quiet", bundle)
    as_json = json.loads(cli("stacks", "--json", "--locals", bundle)[1])

    assert code == 3
    assert f"Traceback for thread {pid} (MainThread) (most recent call last):" in out
    assert re.search(r'^    \(Python\) File ".*", line \d+, in bundle$', out, re.MULTILINE)
    assert "gencore: stacks \\x1b failed: showing the stacks that the manifest recorded" in err
    assert (as_json["source"], as_json["reason"]) == ("manifest", "stacks \\x1b failed")
    assert {frame["locals"] for row in as_json["threads"] for frame in row["frames"]} == {None}


@pytest.mark.usefixtures("small")
def test_rows_of_stacks_do_not_depend_on_where_they_are_from(cli, tmp_path, monkeypatch):
    """Threads by the names that the application gave them, with the same frames."""
    program = tmp_path / "program.py"
    program.write_text(
        "import gencore, sys, threading\n"
        "waiting = threading.Event()\n"
        "threading.Thread(target=waiting.wait, name='payments-worker', daemon=True).start()\n"
        "print(gencore.collect_core(directory=sys.argv[1], sources=True))\n"
    )
    command = [sys.executable, program, tmp_path]
    path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    of_core = json.loads(cli("stacks", "--json", path)[1])
    text = cli("stacks", path)[1]
    monkeypatch.setattr("gencore.cli.stacks.ask", lambda *_: Reading(None, "stacks failed", ()))
    of_manifest = json.loads(cli("stacks", "--json", path)[1])

    assert re.search(r"^Traceback for thread \d+ \(payments-worker\) ", text, re.MULTILINE)
    assert (of_core["source"], of_manifest["source"]) == ("core", "manifest")
    assert of_core.keys() == of_manifest.keys()
    stacks = [{row["tid"]: row for row in shown["threads"]} for shown in (of_core, of_manifest)]
    assert stacks[0].keys() == stacks[1].keys()
    for tid, row in stacks[0].items():
        other = stacks[1][tid]
        assert row.keys() == other.keys()
        assert row["name"] == other["name"]
        assert row["frames"][0].keys() == other["frames"][0].keys()
        assert row["frames"][0]["file"] == other["frames"][0]["file"]
    names = {row["name"] for row in of_core["threads"]}
    assert names == {"MainThread", "payments-worker"}
    outermost = next(row for row in of_core["threads"] if row["name"] == "MainThread")["frames"][0]
    assert outermost == {
        "kind": "python",
        "function": "<module>",
        "file": str(program),
        "line": 4,
        "source_line": "print(gencore.collect_core(directory=sys.argv[1], sources=True))",
        "library": None,
        "locals": None,
    }


@pytest.fixture
def with_locals(tmp_path):
    """Return the path of a bundle of a program whose local variables are hostile and secret."""
    program = (
        "import gencore, sys, threading\n"
        "def wait(secret, escape='\\x1b[2J'):\n"
        "    escape_2 = type('\\x1b[2J', (), {})()\n"
        "    setattr(escape_2, 'a\\x1bb', 1)\n"
        "    return gencore.collect_core(directory=sys.argv[1])\n"
        "print(wait('hunter2'))\n"
    )
    command = [sys.executable, "-c", program, tmp_path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_variables_are_shown_on_request_only(cli, with_locals):
    """Arguments first, as Python shows them, with nothing that a terminal would obey."""
    shown = {words: cli("stacks", *words, with_locals) for words in ((), ("--locals",))}
    as_json = [cli("stacks", "--json", *words, with_locals)[1] for words in ([], ["--locals"])]

    assert {code for code, _, _ in shown.values()} == {0}
    assert "hunter2" not in shown[()][1] + as_json[0]
    lines = shown["--locals",][1].splitlines()
    first = lines.index("      secret = 'hunter2'")
    assert lines[first + 1] == "      escape = '\\x1b[2J'"
    assert re.fullmatch(r"      escape_2 = <__main__\.\\x1b\[2J a\\x1bb=1>", lines[first + 2])
    assert "\x1b" not in "\n".join(lines)
    rows = [row for row in json.loads(as_json[1])["threads"] if row["tid"] is not None]
    frame = next(f for row in rows for f in row["frames"] if f["function"] == "wait")
    assert [(v["name"], v["kind"]) for v in frame["locals"]] == [
        ("secret", "argument"),
        ("escape", "argument"),
        ("escape_2", "local"),
    ]
    assert all(int(variable["address"], 16) for variable in frame["locals"])


def test_native_frames_are_rows_among_the_others(cli, bundle, pid, tool):
    """With the library that each is in."""
    told = json.loads(cli("stacks", "--native", "--locals", "--json", bundle)[1])

    assert tool("pystack")
    assert told["native"]
    row = next(row for row in told["threads"] if row["tid"] == pid)
    assert row["has_native"]
    assert {frame["kind"] for frame in row["frames"]} == {"python", "native"}
    assert all((f["library"] is None) == (f["kind"] == "python") for f in row["frames"])
    assert all((f["locals"] is None) == (f["kind"] == "native") for f in row["frames"])
    assert "    (C) File " in cli("stacks", "--native", bundle)[1]


def test_native_frames_without_pystack_are_a_wrong_use(cli, bundle, monkeypatch):
    """Stacks without them would look as if there were none."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    code, out, err = cli("stacks", "--native", bundle)

    assert (code, out) == (2, "")
    assert "--native needs pystack, which is not installed" in err
    assert "pip install 'gencore[analysis]'" in err


def test_stacks_import_nothing_from_the_current_directory(cli, bundle, tmp_path, monkeypatch):
    """It may be where somebody else's bundle was unpacked."""
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the current directory')")
    monkeypatch.chdir(tmp_path)

    assert cli("stacks", bundle)[0] == 0


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("source", ["core", "manifest"])
def test_stacks_show_the_lines_of_the_bundles_sources(cli, tmp_path, monkeypatch, source):
    """The file has changed on this machine since, or is not there at all."""
    program = tmp_path / "program.py"
    program.write_text(
        "import gencore, sys\n"
        "def outer(): return gencore.collect_core(directory=sys.argv[1], sources=True)  # \x1b\n"
        "print(outer())\n"
    )
    command = [sys.executable, program, tmp_path]
    path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    program.write_text("something else\n" * 3)
    if source == "manifest":
        failed = Reading(None, "stacks failed", ())
        monkeypatch.setattr("gencore.cli.stacks.ask", lambda *_: failed)

    code, out, _ = cli("stacks", path)

    assert code == {"core": 0, "manifest": 3}[source]
    assert "def outer(): return gencore.collect_core(" in out
    assert "        print(outer())\n" in out
    assert "something else" not in out
    assert "\x1b" not in out


def test_without_being_asked_for_no_source_is_taken(cli, tmp_path):
    """Sources are somebody's property."""
    path = gencore.collect_core(directory=tmp_path, content="stacks")
    members = json.loads(cli("info", path, "--json")[1])["members"]

    assert not [member["path"] for member in members if member["path"].endswith(".py")]


def test_why_claims_nothing_of_a_core_that_it_could_not_read(cli, bundle, monkeypatch):
    """That no problem was found would mean nothing."""
    unread = Reading(None, "no Python found", ())
    monkeypatch.setattr("gencore.cli.why.ask", lambda *_: unread)
    code, out, _ = cli("why", "--quiet", bundle)

    assert code == 3
    assert "no problem found" not in out
    assert "the core was not read: problems are unknown" in out
    assert "missing    core: no Python found" in out

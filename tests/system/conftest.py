"""The wheel, environments into which it is installed, and an extension."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from contextlib import contextmanager
from pathlib import Path

import pytest

from gencore import analysis
from gencore.analysis.answers import stacks
from gencore.bundle.cache import unpacked
from gencore.bundle.opening import open_core
from gencore.corefile import CoreFile

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
PACKAGES = (ROOT / "docs" / "examples", ROOT / "tests" / "samples")
"""Where third-party plug-ins are, good ones and bad ones."""


@pytest.fixture(scope="session")
def build_extension():
    """Return a function that builds the extension of every_thread.py in a directory."""

    def build(directory, *options):
        built = directory / "blocking.so"
        headers = f"-I{sysconfig.get_path('include')}"
        command = ["cc", "-O2", "-g", "-fPIC", "-shared", headers, *options]
        subprocess.run([*command, PROGRAMS / "blocking.c", "-o", built], check=True)
        return built

    return build


@pytest.fixture(scope="session")
def wheel(make_once):
    """Build the wheel once."""

    def build(directory):
        source = directory / "source"
        ignored = shutil.ignore_patterns(".venv", ".git", "build", ".*_cache")
        shutil.copytree(ROOT, source, ignore=ignored)
        options = ["--quiet", "--no-deps", "-w", directory]
        subprocess.run([sys.executable, "-m", "pip", "wheel", *options, source], check=True)

    (built,) = make_once("wheel", build).glob("*.whl")
    return built


class Container:
    """Processes with namespaces of their own, of which the first is 1 there."""

    def __init__(self, pid, process, enter):
        self.pid = pid
        """As it is seen outside."""
        self.process = process
        self.said = process.stdout.readline().rstrip("\n")
        """The first line that it has printed."""
        self._enter = enter

    def run(self, *command):
        """Run a command in it, as "kubectl exec" does; return the finished process."""
        return subprocess.run([*self._enter, *command], capture_output=True, check=False)


@pytest.fixture
def container(tool, tmp_path):
    """Return a function that starts a container with all restrictions, which ends with the test.

    It has a read-only root, no capability and no right to gain any, and an empty directory to
    write to: /tmp/dumps of the test. One *beside* another shares its network and nothing else.
    """
    started = []
    dumps = tmp_path / "dumps"
    dumps.mkdir(exist_ok=True)
    dumps.chmod(0o777)
    rights = ["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]

    def nsenter(pid, *namespaces):
        return [tool("nsenter"), "--target", str(pid), *namespaces, "--preserve-credentials", "--"]

    def start(*command, beside=None, options=()):
        about, its_end = os.pipe()
        within = nsenter(beside.pid, "--user", "--net") if beside else []
        new = ["--unshare-all", *(["--share-net"] if beside else [])]
        process = subprocess.Popen(
            [
                *(*within, tool("bwrap"), *new, "--as-pid-1", "--uid", "1000", "--gid", "1000"),
                *("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"),
                *("--remount-ro", "/dev", "--bind", dumps, dumps, "--chdir", "/", *options),
                *("--info-fd", str(its_end), *command),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[its_end],
        )
        started.append(process)
        os.close(its_end)
        with os.fdopen(about) as file:
            pid = json.load(file)["child-pid"]
        return Container(pid, process, [*nsenter(pid, "--all"), tool("setpriv"), *rights])

    yield start
    for process in reversed(started):
        process.communicate("\n")


def find_python(version):
    """Find an interpreter on PATH, or among those that pyenv has."""
    candidates = [shutil.which(f"python{version}")]
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True).stdout
        candidates += sorted(Path(root.strip()).glob(f"versions/{version}.*/bin/python"))
    for candidate in filter(None, candidates):
        if not subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode:
            return candidate
    return None


PYTHONS = [pytest.param(version, marks=pytest.mark.exhaustive) for version in ("3.11", "3.12")]


@pytest.fixture(scope="session", params=[*PYTHONS, "3.13"])
def installed(request, wheel, make_once):
    """Install the wheel into a new environment of each version; return (version, interpreter)."""
    interpreter = find_python(request.param)
    if interpreter is None:
        pytest.skip(f"there is no Python {request.param} on this machine")

    def install(environment):
        make_environment(interpreter, environment)
        pip_install(environment, wheel)

    return request.param, make_once(f"python{request.param}", install) / "bin" / "python"


@pytest.fixture(scope="session")
def with_plugins(wheel, make_once):
    """Install the wheel, the examples and the bad samples; return the environment's bin folder."""

    def install(environment):
        make_environment(sys.executable, environment)
        pip_install(environment, "hatchling", f"{wheel}[testing]")
        packages = sorted(file.parent for top in PACKAGES for file in top.glob("*/pyproject.toml"))
        pip_install(environment, "--no-build-isolation", *packages)

    return make_once("with-plugins", install) / "bin"


@pytest.fixture
def clean_environment():
    """Return this process's environment without what is for gencore, Python and pytest."""
    ours = ("GENCORE_", "PYTHON", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@pytest.fixture
def run_of(clean_environment, tmp_path):
    """Return a function that runs a program of an environment; it returns what that prints."""

    def run(bin_folder, program, *arguments, **variables):
        done = subprocess.run(
            [bin_folder / program, *arguments],
            cwd=tmp_path,
            env={**clean_environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def with_testing(wheel, make_once):
    """Install the wheel, and what suites and builds need; return the environment's bin folder."""

    def install(environment):
        make_environment(sys.executable, environment)
        pip_install(environment, "hatchling", f"{wheel}[testing]")

    return make_once("with-testing", install) / "bin"


@pytest.fixture
def python_in(tmp_path, monkeypatch):
    """Return a function that opens a bundle for a while: the Python in its core, and the core."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    @contextmanager
    def look(bundle):
        with open_core(bundle) as opened, unpacked(opened) as copy, CoreFile(copy.core) as core:
            memory = analysis.Memory.of_core(core, copy.core, copy.folder)
            yield analysis.find_python(memory, core), core

    return look


@pytest.fixture
def threads_in(python_in):
    """Return a function that reads the threads in a bundle, by tid."""

    def read(bundle):
        with python_in(bundle) as (python, core):
            return {thread.tid: thread for thread in analysis.read_stacks(python, core)}

    return read


@pytest.fixture
def check_values(python_in):
    """Return a function that compares the objects in a bundle with what shown_values.py told."""

    def check(told, bundle):
        with python_in(bundle) as (python, _):
            _check_values(told, analysis.Values(python))

    return check


def _check_values(told, values):
    shown = {name: values.show(at, 10_000) for name, (at, _) in told["plain"].items()}
    assert shown == {name: text for name, (_, text) in told["plain"].items()}
    for name, (at, items) in told["containers"].items():
        found = list(map(list, values.items(at)))
        assert sorted(found, key=str) == sorted(items, key=str), name
        assert values.length(at) == len(items), name
    for name, (at, attributes) in (*told["objects"].items(), *told["slotted"].items()):
        found = values.attributes(at)
        assert {key: found.get(key) for key in attributes if key != "5"} == {
            key: value for key, value in attributes.items() if key != "5"
        }, name
    assert {name: values.type_name(at) for name, (at, _) in told["names"].items()} == {
        name: text.removeprefix("builtins.") for name, (_, text) in told["names"].items()
    }
    exact = {name: values.show(at) for name, at in told["exact"].items()}
    assert {name: ADDRESS.sub("AT", text) for name, text in exact.items()} == EXACT


ADDRESS = re.compile(r"0x[0-9a-f]+")
NESTED = (
    "<__main__.Plain a=1, b=[<__main__.Plain at AT>, <__main__.Slotted {}>]>"  # not within itself
)
EXACT = {
    "nested": NESTED.format("_Slotted__hidden=2, first=1"),
    "sub": "<__main__.SubList [1, 2]>",
    "number": "<__main__.SubInt 5>",
    "attribute": "<__main__.SubInt 5 extra=7>",
    "point": "<__main__.Point (1, 'y')>",
    "method": f"<bound method Plain.method of {NESTED.format('at AT')}>",
    "deep": "[[[[...]], {'k': {...}}]]",
    "huge": "<int of about 10,020 bits>",
    "module": "<module 'json'>",
    "aware": "datetime.datetime(2026, 11, 26, 0, 0, tzinfo=...)",
    "long": "'" + "x" * 196 + "...",
}


@pytest.fixture
def stacks_of(python_in):
    """Return a function that reads the stacks in a bundle with their variables, as rows."""

    def read(bundle):
        with python_in(bundle) as (python, core):
            return stacks.answer(python, core, "locals")["threads"]

    return read


@pytest.fixture
def check_locals(stacks_of):
    """Return a function that compares the variables in a bundle with recorded_locals.py's."""

    def check(told, bundle):
        for row in stacks_of(bundle):
            frames = [
                frame
                for frame in row["frames"]
                if frame["file"] == told["file"] and frame["function"] != "<module>"
            ]
            recorded = told["locals"].get(str(row["tid"]), [])
            assert [frame["function"] for frame in frames[::-1]] == [name for name, _ in recorded]
            for frame, (_, values) in zip(frames[::-1], recorded, strict=True):
                _check_variables(frame["locals"], values)
            if recorded:
                assert row["name"] == recorded[-1][0]
                assert (row["status"], row["system_call"]) == ("In a system call", "futex")

    return check


def _check_variables(found, recorded):
    in_class = any(variable["kind"] == "class" for variable in found)
    shown = {
        variable["name"]: (variable["address"], variable["value"])
        for variable in found
        if not (in_class and variable["kind"] == "free")  # f_locals of a class body lacks these
    }
    assert {name: at for name, (at, _) in shown.items()} == {
        name: at for name, (at, _) in recorded.items()
    }
    known = {name: text for name, (_, text) in recorded.items() if text is not None}
    assert {name: shown[name][1] for name in known} == known


@pytest.fixture
def tasks_of(tool, tmp_path):
    """Return a function that runs gencore tasks and returns what it prints."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(*words):
        command = [tool("gencore"), "tasks", "--quiet", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


@pytest.fixture
def check_tasks(tasks_of):
    """Return a function that compares the tasks in a bundle with what recorded_tasks.py told."""

    def check(told, bundle):
        return _check_tasks(told, json.loads(tasks_of("--json", bundle)))

    return check


def _check_tasks(told, found):
    names = {task["address"]: task["name"] for task in found["tasks"]}
    tasks = {task["name"]: task for task in found["tasks"]}
    expected = told["tasks"]

    assert found["incomplete"] is None
    assert set(tasks) == set(expected)
    assert {name: _shown_task(task, names) for name, task in tasks.items()} == {
        name: {key: row[key] for key in row if key != "frames"} for name, row in expected.items()
    }
    main = tasks.pop("main")
    frames = {
        name: [[frame[key] for key in ("function", "file", "line")] for frame in task["frames"]]
        for name, task in tasks.items()
    }
    assert frames == {name: expected[name]["frames"] for name in frames}
    assert [frame["function"] for frame in main["frames"][:2]] == ["main", "collect_core"]
    assert {task["incomplete"] for task in tasks.values()} == {None}
    cycles = {frozenset(names[address] for address in cycle) for cycle in found["cycles"]}
    assert cycles == {frozenset({"ab", "ba"}), frozenset({"cycle-0", "cycle-1"})}
    assert {str(int(loop["address"], 16)): loop["tid"] for loop in found["loops"]} == told["loops"]
    requests = [tasks[name]["cancel_requests"] for name in ("stubborn", "chain")]
    assert requests == [1, 0]
    assert tasks["other-main"]["loop"] != tasks["chain"]["loop"] == main["loop"]
    return tasks


def _shown_task(task, names):
    return {
        "awaits": sorted(names[link["task"]] for link in task["awaits"]),
        "function": task["awaited"]["function"] if task["awaited"] else None,
        "state": task["state"],
        "through": next((link["through"] for link in task["awaits"]), None),
    }


@pytest.fixture
def waits_in(python_in):
    """Return a function that reads which threads in a bundle wait for locks, and the deadlocks."""

    def read(bundle):
        with python_in(bundle) as (python, core):
            waits = analysis.read_waits(python, core)
            return waits, analysis.find_deadlocks(waits)

    return read


@pytest.fixture
def check_waits(waits_in):
    """Return a function that compares what threads wait for with what waiting_threads.py told."""

    def check(told, bundle):
        names = {tid: name for name, tid in told["threads"].items()}
        waits = {names.get(wait.tid, wait.tid): wait for wait in waits_in(bundle)[0]}
        seen = {
            name: [
                wait.lock.kind,
                wait.lock.address,
                names.get(wait.lock.owner),
                wait.lock.known_by,
                wait.within,
            ]
            for name, wait in waits.items()
        }
        spinners = [seen.pop(name) for name in list(seen) if name.startswith("spinner")]

        assert seen == told["waits"]
        assert {(row[0], *row[2:]) for row in spinners} == {("GIL", "main", "record", None)}
        assert {name for name, wait in waits.items() if wait.lock.is_owner_gone} == {"gone"}
        timed = {name for name, wait in waits.items() if not wait.forever}
        assert {name for name in timed if not name.startswith("spinner")} == {
            "timed",
            "joins-timed",
        }
        assert waits["imports"].lock.module == "slow_module"
        assert waits["get"].lock.type_name == "__main__.Jobs"
        assert waits["semaphore"].lock.type_name == "threading.BoundedSemaphore"

    return check


@pytest.fixture(scope="session")
def jemalloc():
    """Return the path of jemalloc's library."""
    found = sorted(Path("/usr/lib").glob("*/libjemalloc.so.2"))
    if not found:
        pytest.skip("libjemalloc.so.2 is not on this machine")
    return str(found[0])


@pytest.fixture
def heap_of(tmp_path, tool):
    """Return a function that counts the objects in a bundle, in a process that may load numpy."""

    def count(bundle, *options):
        done = subprocess.run(
            [tool("gencore"), "heap", "--json", *options, bundle],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return count


@pytest.fixture
def check_references(tmp_path, tool):
    """Return a function that compares the references in bundles with what held_objects.py told."""

    def gencore(*arguments):
        done = subprocess.run(
            [tool("gencore"), *arguments],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    def check(told, before, after):
        program = [sys.executable, PROGRAMS / "read_references.py", after, *told["referrers"]]
        found = json.loads(subprocess.run(program, capture_output=True, check=True).stdout)
        _check_references(told, found)
        _check_growth(told, gencore("diff", "--json", "--quiet", before, after))
        at, way = next(pair for pair in told["ways"].items() if "['deque']" in pair[1])
        shown = gencore("referrers", "--json", "--quiet", "--to-root", "--locals", after, at)
        rows = [(row["type"], row["way"]) for row in shown["referrers"]]
        assert (shown["references"], rows) == (1, [("collections.deque", "[200]")])
        assert (shown["way"], shown["steps"][-1]["address"]) == (way, hex(int(at)))

    return check


def _check_references(told, found):
    assert {at: found["ways"].get(at) for at in told["ways"]} == told["ways"]
    assert [found["ways"][str(at)] for at in told["cycle"]] == ["unreachable", "unreachable"]
    assert found["unreachable"] < found["reachable"] // 100
    of_tree, size = told["tree"]
    # What a stale word of a frame refers to as well is kept alive by both.
    assert 0.999 * size <= found["retained"][str(of_tree)] <= size
    missing = {at: {*known} - {*found["referrers"][at]} for at, known in told["referrers"].items()}
    assert {at: left for at, left in missing.items() if left - {told["not ours"]}} == {}
    assert found["agreeing"] > 0.97


def _check_growth(told, shown):
    assert shown["same_process"]
    leak = next(row for row in shown["grown"] if row["type"] == "__main__.Leak")
    assert leak["count_after"] - leak["count_before"] == leak["new"] == told["leaked"]
    assert leak["holders"][0] == {
        "way": "module app: LEAKS",
        "before": 0,
        "after": told["leaked"],
    }


@pytest.fixture
def check_census():
    """Return a function that compares a census with what counted_objects.py told."""
    return _check_census


HIDDEN_TOO = {"str", "bytes", "tuple", "dict", "list", "int"}
"""Of these the collector does not show all: some are led to by C alone."""
SIZED_BY_C = {
    "StgDict",
    "_ctypes.PyCPointerType",
    "_ctypes.PyCSimpleType",
    "_struct.Struct",
    "re.RegexFlag",
    "type",
}
"""Their sizes are no multiple of anything in their types."""


def _check_census(told, shown):
    found = {}
    for row in shown["types"]:
        count, size = found.get(row["type"], (0, 0))
        found[row["type"]] = count + row["count"], size + row["size"]
    own = {name: row for name, row in told["types"].items() if name.startswith("__main__.")}
    others = {
        name: row
        for name, row in told["types"].items()
        if name not in own and name.partition(".")[0] not in {"gencore", "gencore_backends"}
    }

    assert len(own) >= 12
    for name, (count, size) in own.items():
        assert abs(found[name][0] - count) <= 2, (name, count, found[name])
        assert abs(found[name][1] - size) <= size * 0.01 + 300, (name, size, found[name])
    for name, (count, size) in others.items():
        if count >= 500:
            assert found[name][0] >= count * 0.998 - 10, (name, count, found[name])
        if count >= 500 and name not in HIDDEN_TOO:
            assert found[name][0] <= count * 1.005 + 10, (name, count, found[name])
            assert abs(found[name][1] - size) <= size * 0.01 + 1000, (name, size, found[name])
    tracked = told["tracked"]
    exact = {name for name in tracked if found.get(name) == tuple(told["types"][name])}
    assert len(exact) >= len(tracked) * 0.95, {*tracked} - exact
    assert SIZED_BY_C & {*tracked} | {"cell"} <= exact
    total = sum(size for _, size in told["types"].values()) + _size_of_interned(told, shown)
    assert abs(sum(row["size"] for row in shown["types"]) - total) < total * 0.01


def _size_of_interned(told, shown):
    """Return the size of the dictionary of interned strings, which C alone has before 3.14."""
    sizes = [row["size"] for row in shown["largest"] if row["type"] == "dict"]
    interned = [size for size in sizes if size > told["largest dict"]]
    assert len(interned) <= 1
    return sum(interned)


@pytest.fixture(scope="session")
def install_into():
    """Return the function that installs packages into an environment."""
    return pip_install


def make_environment(interpreter, environment):
    """Make an environment without a pip of its own, which would take longer than all else."""
    subprocess.run([interpreter, "-m", "venv", "--without-pip", environment], check=True)


def pip_install(environment, *what):
    """Install packages; what is imported of them is compiled then, and the most of it never is."""
    python = environment / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    subprocess.run([*command, "--no-compile", *what], check=True)

"""The objects that are found in a core, compared with those that the process counted itself."""

import functools
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
NATIVE = Path(__file__).parents[1] / "native"

pytestmark = pytest.mark.timeout(400)

ONE_PYTHON = pytest.mark.parametrize("installed", ["3.13"], indirect=True)
"""For what does not depend on the Python that was dumped."""

ALLOCATORS = {
    None: "pymalloc",
    "debug": "pymalloc, debugging",
    "malloc": "malloc",
    "malloc_debug": "malloc, debugging",
}


@pytest.fixture(scope="module")
def count(installed, tmp_path_factory):
    """Return a function that dumps a process of each version once, and what that counted."""

    @functools.cache
    def run(content, allocator=None, preloaded=None, python=(installed[1],)):
        folder = tmp_path_factory.mktemp("counted")
        counted = [PROGRAMS / "counted_objects.py", folder, content, "1000"]
        wanted = {"PYTHONMALLOC": allocator, "LD_PRELOAD": preloaded}
        environment = os.environ | {name: value for name, value in wanted.items() if value}
        command = [*python, *counted]
        done = subprocess.run(command, capture_output=True, check=True, env=environment)
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def malloc_of(request, tmp_path_factory):
    """Return a function that returns the library of a malloc: jemalloc's, or one of ours."""

    @functools.cache
    def find(malloc):
        if malloc == "jemalloc":
            return request.getfixturevalue("jemalloc")
        source, name = {
            "bump_malloc": (NATIVE / "bump_malloc.c", "libbump_malloc.so"),
            "unused": ("/dev/null", "libjemalloc.so.2"),
        }[malloc]
        library = tmp_path_factory.mktemp("malloc") / name
        made = ["cc", "-shared", "-fPIC", "-O1", "-fno-builtin", "-x", "c", source, "-o", library]
        subprocess.run(made, check=True)
        return str(library)

    return find


@pytest.fixture
def counted_with(count, malloc_of):
    """Return a function that returns what a process with another malloc has counted."""
    return lambda malloc, allocator: count("private", allocator, malloc_of(malloc))


@pytest.mark.parametrize(
    ("malloc", "allocator"),
    [
        ("jemalloc", "pymalloc"),
        ("bump_malloc", "pymalloc"),
        *(
            pytest.param(malloc, allocator, marks=pytest.mark.exhaustive)
            for malloc, allocator in (
                ("jemalloc", "malloc"),
                ("jemalloc", "debug"),
                ("jemalloc", "malloc_debug"),
                ("bump_malloc", "malloc"),
            )
        ),
    ],
)
def test_objects_of_a_malloc_of_unknown_layout_are_found(
    counted_with, heap_of, check_census, malloc, allocator
):
    """Each, and no others: one malloc keeps all that was ever freed, and what was moved."""
    told = counted_with(malloc, allocator)
    shown = heap_of(told["bundle"], "--top", "5")

    assert shown["allocator"] == ALLOCATORS.get(allocator, "pymalloc")
    assert shown["other_malloc"] == ("jemalloc" if malloc == "jemalloc" else "unknown")
    check_census(told, shown)
    memory = shown["memory"]
    objects = memory["objects_in_pools"] + memory["large_objects"]
    assert sum(row["allocated"] for row in shown["types"]) == objects


@ONE_PYTHON
def test_it_is_said_that_objects_were_found_without_the_layout(counted_with, tool, tmp_path):
    """And that what the malloc adds to them is unknown; but nothing is missing."""
    bundle = counted_with("jemalloc", "pymalloc")["bundle"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [tool("gencore"), "heap", "--quiet", bundle]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert done.returncode == 0
    assert done.stderr == (
        "gencore: the malloc is not glibc's: jemalloc: the objects from it were found by their "
        "types, and allocated is their size alone\n"
    )


@ONE_PYTHON
def test_each_command_says_that_objects_were_found_without_the_layout(
    counted_with, tool, tmp_path
):
    """In the same words, and in JSON; and each says nothing of a malloc that is not in use."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    note = "the malloc is not glibc's: jemalloc: the objects from it were found by their types"

    def run(*words):
        return subprocess.run(
            [tool("gencore"), *words], capture_output=True, text=True, check=True, env=environment
        )

    for malloc, other in (("jemalloc", "jemalloc"), ("unused", None)):
        bundle = counted_with(malloc, "pymalloc")["bundle"]
        heap = json.loads(run("heap", "--quiet", "--json", bundle).stdout)
        for command in (
            ("objects", "--type", "dict", bundle),
            ("referrers", bundle, heap["largest"][0]["address"]),
            ("diff", bundle, bundle),
        ):
            done = run(*command, "--quiet", "--json")
            assert json.loads(done.stdout)["other_malloc"] == other, command
            assert done.stderr == (f"gencore: {note}\n" if other else ""), command
        shown = json.loads(run("why", "--quiet", "--json", bundle).stdout)
        assert shown["heap"]["other_malloc"] == other
        assert (note in " ".join(run("why", "--quiet", bundle).stdout.split())) == bool(other)


@pytest.mark.parametrize("allocator", ["pymalloc", "malloc"])
def test_a_malloc_that_is_loaded_but_not_used_hides_nothing(counted_with, heap_of, allocator):
    """A library may have one for itself."""
    shown = heap_of(counted_with("unused", allocator)["bundle"])

    assert (shown["allocator"], shown["other_malloc"]) == (allocator, None)


@pytest.mark.parametrize(
    "content", [pytest.param("full", marks=pytest.mark.exhaustive), "private"]
)
def test_objects_are_those_that_the_program_counted(count, heap_of, check_census, content):
    """By type, their number and their bytes; and the largest ones are the largest."""
    told = count(content)
    shown = heap_of(told["bundle"], "--top", "5")

    check_census(told, shown)
    assert shown["allocator"] == "pymalloc"
    largest = [thing["size"] for thing in shown["largest"]]
    assert len(largest) == 5
    assert largest == sorted(largest, reverse=True)
    assert largest[0] <= max(row["size"] for row in shown["types"])
    memory = shown["memory"]
    in_pools = ("objects_in_pools", "raw_in_pools", "free_in_pools")
    assert sum(memory[name] for name in in_pools) == shown["pools"] << 14
    objects = memory["objects_in_pools"] + memory["large_objects"]
    assert sum(row["allocated"] for row in shown["types"]) == objects


@pytest.mark.parametrize(
    "allocator",
    [
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("debug", "malloc")),
        "malloc_debug",
    ],
)
def test_objects_of_other_allocators_are_found(count, heap_of, check_census, allocator):
    """Those that Python itself offers: without pools, and with patterns around each block."""
    told = count("full", allocator)
    shown = heap_of(told["bundle"])

    assert shown["allocator"] == ALLOCATORS[allocator]
    check_census(told, shown)


@pytest.fixture
def stripped_python(installed, tool, tmp_path):
    """Return how to run a copy of the interpreter that has no symbols for debuggers.

    Nor has that of the library that it is in, if it is in one.
    """
    asked = (
        "import os, sys, sysconfig as s; print(os.path.realpath(sys.executable), sys.base_prefix,"
        "s.get_path('purelib'), os.path.join(*s.get_config_vars('LIBDIR', 'INSTSONAME')))"
    )
    done = subprocess.run([installed[1], "-c", asked], capture_output=True, check=True, text=True)
    executable, home, packages, library = map(Path, done.stdout.split())
    for path in (executable, library):
        if path.suffix != ".a":
            subprocess.run([tool("strip"), path, "-o", tmp_path / path.name], check=True)
    variables = {"LD_LIBRARY_PATH": tmp_path, "PYTHONHOME": home, "PYTHONPATH": packages}
    pairs = (f"{name}={value}" for name, value in variables.items())
    return ("env", *pairs, tmp_path / executable.name)


def test_objects_in_a_stripped_python_are_found(count, heap_of, check_census, stripped_python):
    """Nothing but what the dynamic linker needs is read."""
    told = count("private", python=stripped_python)
    with tarfile.open(told["bundle"]) as bundle:
        names = {f"/{name.partition('/')[2]}" for name in bundle.getnames()}

    assert {str(path) for path in stripped_python[-1].parent.glob("*python*")} <= names
    check_census(told, heap_of(told["bundle"]))


@ONE_PYTHON
def test_a_table_is_printed(count, tool, tmp_path):
    """For people: types, what the memory is for, the largest objects."""
    told = count("private")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [tool("gencore"), "heap", "--top", "3", told["bundle"]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)

    head, types, memory, largest = (part.splitlines() for part in done.stdout.split("\n\n"))
    assert head[0].startswith(f"Python {'.'.join(map(str, told['version']))}; allocator: pymalloc")
    assert len(types) == 1 + 3 + 1
    assert "all " in types[-1]
    assert len(memory) == 1 + 6
    assert len(largest) == 1 + 3


@ONE_PYTHON
def test_a_core_without_a_heap_is_said_to_have_none(installed, tool, tmp_path):
    """The exit code is 3: what was counted is not all."""
    code = "import gencore, sys; print(gencore.collect_core(directory='.', content='stacks'))"
    made = [installed[1], "-c", code]
    bundle = subprocess.run(made, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    path = tmp_path / bundle.strip()
    commands = (
        ["heap", path],
        ["objects", "--type", "dict", path],
        ["referrers", path, "0x1000"],
        ["diff", path, path],
    )
    for command in commands:
        done = subprocess.run(
            [tool("gencore"), *command, "--json"],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 3, command
        reason = "the core has the content stacks: the heap is missing"
        assert reason in done.stderr
        assert json.loads(done.stdout)["incomplete"] == reason
        assert "malloc" not in done.stderr, command

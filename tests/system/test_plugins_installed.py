"""Third-party plug-ins installed with pip: the examples work, bad ones are told apart."""

import contextlib
import json
import re
import shutil
import subprocess
import tarfile
from functools import partial
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TWINS = "claimed by sample-twin-one 1.0 and sample-twin-two 1.0"
BAD = {
    "sample-import-error": ("failed", "ModuleNotFoundError: No module named 'no_such_module'"),
    "sample-exit": ("failed", "its import calls sys.exit(3)"),
    "sample-twin-one": ("conflict", TWINS),
    "sample-twin-two": ("conflict", TWINS),
    "sample-too-old": ("incompatible", "contract version 0.9; this gencore accepts 1.0"),
    "sample-too-new": ("incompatible", "contract version 2.0; this gencore accepts 1.0"),
    "sample-no-collector": ("incompatible", "is not a subclass of gencore.Collector"),
    "sample-unsupported": ("unsupported", "this is not the right machine"),
}
GOOD = ("gencore-http-put", "gencore-kubernetes", "gencore-sidecar", "gencore-zstd")
FROM_INSTALLED = """
from pathlib import Path
import gencore, {module}
assert all("site-packages" in Path(m.__file__).parts for m in (gencore, {module}))
"""
DUMP = """
import gencore, json, sys
options = json.loads(sys.argv[1])
report = gencore.Pipeline(**options).run()
problems = [str(problem) for problem in report.problems]
print(json.dumps({"result": report.result, "backend": report.backend, "problems": problems,
                  "paths": {a.collector: str(a.path) for a in report.artifacts}}))
"""
READY = re.compile(r"ready at .*\n")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def run(run_of, with_plugins):
    """Return a function that runs a program of the environment; it returns what that prints."""
    return partial(run_of, with_plugins)


@pytest.fixture
def rows(run):
    """Return a function that lists the plug-ins by distribution, those of gencore by name."""

    def list_plugins(**environment):
        found = json.loads(run("gencore", "plugins", "--json", **environment))["plugins"]
        third = [row for row in found if row["distribution"] != "gencore"]
        own = [row for row in found if row["distribution"] == "gencore"]
        return {row["distribution"]: row for row in third}, {row["name"]: row for row in own}

    return list_plugins


@pytest.fixture
def dump(run, tmp_path):
    """Return a function that makes a dump in the environment, and returns facts of its report."""

    def make(options, **environment):
        given = json.dumps({"directory": str(tmp_path), **options})
        return json.loads(run("python", "-P", "-c", DUMP, given, **environment))

    return make


@contextlib.contextmanager
def sidecar(bin_directory, path, environment):
    """Run the example's sidecar in the environment until the end."""
    command = [bin_directory / "python", "-P", "-m", "gencore_sidecar.server", "--socket", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert READY.fullmatch(process.stdout.readline())
            yield
        finally:
            process.terminate()


def test_each_bad_plug_in_is_told_apart(rows):
    """By its status and the reason, for programs."""
    found = rows()[0]

    assert {name: found[name]["status"] for name in BAD} == {n: s for n, (s, _) in BAD.items()}
    assert [name for name, (_, words) in BAD.items() if words not in found[name]["reason"]] == []


def test_people_are_told_too(run):
    """In a line each, with the reason below it; the good ones are not harmed."""
    lines = run("gencore", "plugins").splitlines()

    for distribution, (status, words) in BAD.items():
        row = re.compile(rf"(backend|collector) .* {distribution} 1\.0 +{status}")
        (at,) = (number for number, line in enumerate(lines) if row.fullmatch(line))
        assert words in lines[at + 1]
    assert re.search(
        r"^collector +kubernetes +gencore-kubernetes 1.0 +ok$", "\n".join(lines), re.MULTILINE
    )


def test_every_sample_is_installed(rows):
    """None is forgotten here."""
    assert set(rows()[0]) == {*BAD, *GOOD}


def test_autoload_can_be_turned_off(rows):
    """For all that others bring, before a line of it runs; what gencore brings stays."""
    third, own = rows(GENCORE_DISABLE_PLUGIN_AUTOLOAD="1")

    assert {row["status"] for row in third.values()} == {"disabled"}
    assert all("GENCORE_DISABLE_PLUGIN_AUTOLOAD" in row["reason"] for row in third.values())
    assert own["raw"]["status"] == "ok"


def test_plug_ins_can_be_allowed_by_name(rows):
    """Those alone are loaded; the others say why not."""
    third, own = rows(GENCORE_PLUGINS="kubernetes,exit")

    assert third["gencore-kubernetes"]["status"] == "ok"
    assert third["sample-exit"]["status"] == "failed"
    assert third["sample-too-old"]["status"] == "disabled"
    assert third["sample-too-old"]["reason"] == "not named in GENCORE_PLUGINS"
    assert own["raw"]["status"] == "ok"


@pytest.mark.parametrize(
    "distribution",
    [
        pytest.param("gencore-http-put", marks=pytest.mark.exhaustive),
        "gencore-kubernetes",
        pytest.param("gencore-sidecar", marks=pytest.mark.exhaustive),
        "gencore-zstd",
    ],
)
def test_an_example_passes_its_own_suite(run, tmp_path, tool, distribution):
    """Which has ours in it, with what is installed and no source tree near."""
    if distribution == "gencore-sidecar":
        assert tool("gcore")
    module = distribution.replace("-", "_")
    shutil.copytree(EXAMPLES / distribution / "tests", tmp_path / "tests")
    (tmp_path / "tests" / "conftest.py").write_text(FROM_INSTALLED.format(module=module))

    pytest_there = ("python", "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    said = run(*pytest_there, MALLOC_ARENA_MAX="1")  # gcore writes each thread's 64 MiB

    assert int(re.search(r"^(\d+) passed", said, re.MULTILINE)[1]) > 5


def test_the_collectors_artefact_is_in_the_bundle(dump):
    """It is named as the built-in ones are, and packed with theirs."""
    collectors = ["manifest", "kubernetes", "archive"]
    made = dump({"collectors": collectors}, POD_IP="10.0.0.7")

    assert made["result"] == "complete", made["problems"]
    with tarfile.open(made["paths"]["archive"]) as bundle:
        (member,) = (name for name in bundle.getnames() if name.endswith("/kubernetes.json"))
        assert json.load(bundle.extractfile(member))["environment"]["POD_IP"] == "10.0.0.7"


def test_the_backends_core_is_whole(dump, with_plugins, clean_environment, tmp_path, tool):
    """The report says so, and gdb opens it."""
    path = tmp_path / "s" / "socket"
    with sidecar(with_plugins, path, clean_environment):
        made = dump({"backend": "sidecar", "collectors": ["raw"]}, GENCORE_SIDECAR=str(path))

    assert (made["result"], made["backend"]) == ("complete", "sidecar"), made["problems"]
    command = [tool("gdb"), "-nx", "-batch", "-ex", "backtrace", with_plugins / "python"]
    said = subprocess.run(
        [*command, made["paths"]["raw"]], capture_output=True, text=True, check=True
    )
    assert re.search(r"^#0 .*\n#1 ", said.stdout, re.MULTILINE), said.stderr


def test_the_filters_core_is_whole(dump):
    """It is found by its name, and the name of what it made says so."""
    made = dump({"collectors": ["raw"], "filters": ["zstd"]})

    assert made["result"] == "complete", made["problems"]
    assert made["paths"]["raw"].endswith(".core.zst")


def test_the_destination_is_asked_before_the_pause(run, tmp_path):
    """With the options of a file."""
    config = tmp_path / "gencore.toml"
    config.write_text(
        'destination = { use = "http-put", options = { url = "http://127.0.0.1:1" } }\n'
    )
    config.chmod(0o600)
    code = "import gencore\ntry: gencore.start()\nexcept gencore.Refused as e: print(e)"

    said = run("python", "-P", "-c", code, GENCORE_CONFIG=str(config))

    assert "destination 'http-put' cannot be used: ConnectionRefusedError" in said


@pytest.mark.parametrize("which", ["one", "two"])
def test_of_two_with_one_name_one_can_be_chosen(dump, which):
    """By its distribution."""
    made = dump({"collectors": [f"sample-twin-{which}:twin"]})

    assert made["result"] == "complete", made["problems"]
    assert Path(made["paths"]["twin"]).read_text() == which


def test_a_new_collector_takes_forty_lines():
    """As we promise to those who think about writing one; its test takes five."""
    example = EXAMPLES / "gencore-kubernetes"
    code = (example / "gencore_kubernetes.py").read_text()
    suite = (example / "tests" / "test_kubernetes.py").read_text()
    (block,) = re.findall(r"^class .*\n(?:    .*\n)+", suite, re.MULTILINE)

    assert len([line for line in code.splitlines() if line]) <= 40
    assert len(block.splitlines()) <= 5

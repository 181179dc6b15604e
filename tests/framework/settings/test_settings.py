"""Where a pipeline's options come from: arguments, environment, a file, a mapping."""

import json
import os
import sys
from pathlib import Path

import attrs
import pytest

import gencore
from gencore._settings.mapping import options_from_mapping
from gencore._settings.options import Options
from gencore._settings.sources import resolve_settings
from gencore.testing import SimulatedBackend


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Return a function that writes the file that GENCORE_CONFIG names."""
    path = tmp_path / "gencore.toml"

    def write(text):
        path.write_text(text)
        monkeypatch.setenv("GENCORE_CONFIG", str(path))
        return path

    return write


class Told(gencore.Collector):
    """Writes down what it was told."""

    name = "told"
    api_version = (1, 0)

    def __init__(self, *, top=10):
        self.top = top

    def finish(self, dump):
        with dump.create("told.json") as file:
            file.write(
                json.dumps({"top": self.top, "annotations": dump.request.annotations}).encode()
            )
        return [file.artifact()]


FILE = """
directory = "{directory}"
content = "private"
timeout = 60
name = "{{exe}}-{{id}}"
collectors = [
  "manifest",
  {{ use = "raw", required = true, timeout = 30 }},
]

[annotations]
team = "orders"
"""


def test_the_file_of_gencore_config_gives_what_nothing_else_gives(tmp_path, config):
    """Every option that a file can say."""
    there = tmp_path / "there"
    there.mkdir()
    config(FILE.format(directory=there))

    report = gencore.start().result()

    assert report.result == "complete"
    assert [artifact.collector for artifact in report.artifacts] == ["manifest", "raw"]
    manifest = json.loads(report.path_of("manifest").read_text())
    assert report.path_of("raw").parent == there
    assert manifest["annotations"] == {"team": "orders"}
    assert report.name == f"{Path(sys.executable).name}-{manifest['bundle_id']}"


def test_arguments_go_before_the_environment_and_that_before_the_file(
    tmp_path, monkeypatch, config
):
    """None is an argument that was not given."""
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    for directory in (one, two, three):
        directory.mkdir()
    config(f'directory = "{three}"\ncollectors = ["raw"]')

    assert gencore.Pipeline(directory=None).run().path_of("raw").parent == three
    monkeypatch.setenv("GENCORE_DIRECTORY", str(two))
    assert gencore.Pipeline().run().path_of("raw").parent == two
    assert gencore.Pipeline(directory=one).run().path_of("raw").parent == one


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        ("descriptor", gencore.DestinationSpec("descriptor")),
        (
            '{ use = "directory", options = { keep_count = 5 } }',
            gencore.DestinationSpec("directory", options={"keep_count": 5}),
        ),
        ("", gencore.DestinationSpec("directory")),
    ],
)
def test_the_environment_names_a_destination_with_its_options(
    monkeypatch, config, text, destination
):
    """As the file does, which is weaker; an empty variable is none."""
    config("destination = 'directory'")
    monkeypatch.setenv("GENCORE_DESTINATION", text)

    assert resolve_settings({}).destination == destination


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{ use = 5 }", "GENCORE_DESTINATION: destination.use=5: expected text$"),
        ("{ use", "GENCORE_DESTINATION is not TOML"),
        (
            '{ use = "directory", options = { keep_count = "5" } }',
            r"GENCORE_DESTINATION: dest.*'5'",
        ),
    ],
)
def test_a_wrong_destination_of_the_environment_is_named(monkeypatch, text, fault):
    """With the variable."""
    monkeypatch.setenv("GENCORE_DESTINATION", text)

    with pytest.raises(gencore.UsageError, match=fault):
        gencore.Pipeline()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("timeout = '5'", "GENCORE_CONFIG=.*: timeout='5': expected a number$"),
        ("timeout = true", "timeout=True: expected a number$"),
        ("backend = 3", "backend=3: expected text or a table$"),
        ("sources = 1", "sources=1: expected true or false$"),
        ("threads = 'all'", "threads='all': expected one of 'auto', 'signal', 'caller'$"),
        ("annotations = { a = 1 }", r"annotations\['a'\]=1: expected text$"),
        ("collectors = 'raw'", "collectors='raw': expected a list$"),
        ("collectors = [3]", r"collectors\[0\]=3: expected text or a table$"),
        ("collectors = ['raw', {}]", r"collectors\[1\].use is missing$"),
        (
            "collectors = [{ use = 'raw', timeout = 'x' }]",
            r"collectors\[0\].timeout='x': expected a number$",
        ),
        (
            "directry = 'x'",
            "unknown key 'directry': expected one of .* Remedy: did you mean 'directory'?",
        ),
        ("trigers = []", "expected one of .*, listeners, triggers. Remedy: did .* 'triggers'?"),
        ("fire = []", "expected one of (?!.*fired)(?!.*on_event)"),
        (
            "collectors = [{ use = 'raw', timeuot = 5 }]",
            r"unknown key 'timeuot' of collectors\[0\]: expected .*, timeout. .* 'timeout'\?$",
        ),
        (
            "colectors = []\ndirectry = 'x'",
            r"'colectors'.*; unknown key 'directry'.* mean 'collectors'\?; .* 'directory'\?$",
        ),
        ("on_event = 'x'", "on_event='x': expected a callable, which only code can give$"),
        ("annotations = ['x']", r"annotations=\['x'\]: expected a table whose keys are text$"),
        ("timeout = ", "is not TOML"),
        ("timeout = -1", "GENCORE_CONFIG=.*not a positive number"),
        ("collectors = []", "GENCORE_CONFIG=.*not a list of collectors"),
        ("collectors = ['raw', 'raw']", "'raw' is given 2 times"),
        ("collectors = [{ use = 'raw', timeout = -1 }]", "GENCORE_CONFIG=.*number of seconds"),
        ("name = '{x}'", "GENCORE_CONFIG=.*an unsupported field"),
        ("name = ''", "GENCORE_CONFIG=.*is empty"),
        ("directory = ''", "GENCORE_CONFIG=.*is empty"),
        ("directory = 'x'", "directory='x': expected an absolute path"),
        (
            "destination = {use = 'directory', options = {path = 'x'}}",
            "destination.options.path='x': expected an absolute path",
        ),
        ("a = " + "[" * 5000, "is not TOML"),
        ("backend = {}", "backend.use is missing$"),
        (
            "backend = { use = 'aix', options = 3 }",
            "backend.options=3: expected a table whose keys are text$",
        ),
        (
            "backend = { use = 'aix', options = { pace = 3 } }",
            "GENCORE_CONFIG=.*: backend 'aix': unknown option pace=3: expected none",
        ),
        (
            "destination = { use = 'descriptor', options = { file = 'x' } }",
            "GENCORE_CONFIG=.*: destination 'descriptor': option file='x': expected int or ",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_path(config, text, fault):
    """And the file."""
    config(text)

    with pytest.raises(gencore.UsageError, match=fault):
        gencore.Pipeline()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"backend": 3}, "backend=3 is neither a name nor a Backend"),
        ({"collectors": "raw"}, "collectors='raw' is not a list"),
        ({"collectors": [3]}, "3 is neither the name nor the class of a collector"),
        ({"directory": 3}, "directory=3 is not a path"),
        ({"directory": ""}, "directory='' is empty"),
        ({"name": 3}, "name=3 is not a string"),
        ({"threads": "all"}, "threads='all' is not one of auto"),
        ({"content": 3}, "content=3 is not one of full"),
        ({"timeout": "5"}, "timeout='5' is not a positive number"),
        ({"annotations": [("a", "b")]}, "annotations=.* is not a mapping"),
        ({"annotations": {"a": 1}}, "annotation 'a'=1 is not a string"),
        ({"sources": 1}, "sources=1 is neither True nor False"),
        ({"on_event": 3}, "on_event=3 cannot be called"),
        ({"directry": "x"}, "unknown option 'directry'. Remedy: did you mean 'directory'?"),
    ],
)
def test_a_wrong_argument_is_named_with_its_value(options, fault):
    """Whatever it is an argument of."""
    with pytest.raises(gencore.UsageError, match=fault):
        gencore.Pipeline(**options)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"backend": ""}, "backend name '' is empty"),
        ({"collectors": [""]}, "collector name '' is empty"),
        ({"collectors": ["raw", " "]}, "collector name ' ' is empty"),
        ({"collectors": [":raw"]}, "collector name ':raw' is incomplete"),
        ({"collectors": ["gencore:"]}, "collector name 'gencore:' is incomplete"),
        ({"destination": ""}, "destination name '' is empty"),
        ({"filters": [""]}, "filter name '' is empty"),
        ({"listeners": [""]}, "listener name '' is empty"),
    ],
)
def test_an_empty_name_is_a_usage_error(options, name):
    """It names no plug-in, so that none is looked for."""
    with pytest.raises(gencore.UsageError, match=f"^{name}: expected NAME or DISTRIBUTION:NAME"):
        gencore.Pipeline(**options)


@pytest.mark.parametrize("mapping", [5, "x", ["raw"], {3: "raw"}, {"collectors": [{3: 4}]}])
def test_what_is_no_table_is_a_usage_error(mapping):
    """Also where only code could give it, as the keys of YAML need not be text."""
    with pytest.raises(
        gencore.UsageError, match=r"^the mapping: .*(expected a table|unknown key 3)"
    ):
        gencore.Pipeline.from_mapping(mapping)


def test_the_settings_are_one_frozen_object(tmp_path, monkeypatch, config):
    """Each value from the strongest of its sources, the request's options among them."""
    config("content = 'private'\ntimeout = 5\nname = '{id}'")
    monkeypatch.setenv("GENCORE_DIRECTORY", str(tmp_path))
    annotations = {"a": "b"}

    settings = resolve_settings({"timeout": 6, "annotations": annotations, "content": None})
    annotations["c"] = "d"

    assert (settings.directory, settings.name) == (str(tmp_path), "{id}")
    assert settings.collectors == (
        gencore.CollectorSpec("manifest"),
        gencore.CollectorSpec("archive"),
    )
    assert settings.request == gencore.DumpRequest(
        content="private", timeout=6, annotations={"a": "b"}
    )
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        settings.name = "x"


def test_a_value_of_the_file_that_an_argument_replaces_does_not_matter(config):
    """It is in nobody's way, as long as it is of its type."""
    config("timeout = -1")

    assert gencore.Pipeline(timeout=5)._request.timeout == 5


def test_every_fault_is_told_at_once(config):
    """Not one after the other."""
    config("timeout = 'x'\nbackend = 3")

    with pytest.raises(gencore.UsageError, match=r"timeout='x'.*backend=3|backend=3.*timeout='x'"):
        gencore.Pipeline()


def test_a_file_that_cannot_be_trusted_or_read_is_refused(tmp_path, monkeypatch, config):
    """Relative, missing, changeable by anybody or another user, endless, no text, no file."""
    path = config("")
    path.chmod(0o660)  # the group is the business of whoever owns the file
    gencore.Pipeline()
    path.chmod(0o602)
    with pytest.raises(gencore.UsageError, match=r"world-writable.*chmod o-w"):
        gencore.Pipeline()
    path.chmod(0o644)
    path.write_bytes(b"\xff")
    with pytest.raises(gencore.UsageError, match="is not TOML"):
        gencore.Pipeline()
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(gencore.UsageError, match="larger than"):
        gencore.Pipeline()
    path.write_text("")
    os.chown(path, 12345, -1)
    with pytest.raises(gencore.UsageError, match=r"belongs to another user \(uid 12345\)"):
        gencore.Pipeline()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(gencore.UsageError, match="is not a file"):
        gencore.Pipeline()
    path.unlink()
    with pytest.raises(gencore.UsageError, match="cannot be read: No such file"):
        gencore.Pipeline()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENCORE_CONFIG", "gencore.toml")
    with pytest.raises(gencore.UsageError, match="relative path"):
        gencore.Pipeline()


def test_a_pipeline_is_built_from_a_mapping(tmp_path):
    """Whatever it was read from."""
    pipeline = gencore.Pipeline.from_mapping(
        {"collectors": ["raw"], "directory": str(tmp_path), "backend": "linux-elf"}
    )

    assert pipeline.run().path_of("raw").parent == tmp_path
    with pytest.raises(gencore.UsageError, match="backend=None: expected text or a table"):
        gencore.Pipeline.from_mapping({"backend": None})
    with pytest.raises(gencore.UsageError, match="keys are text"):
        gencore.Pipeline.from_mapping({1: 2})


def test_a_mapping_may_say_whatever_an_argument_may(tmp_path):
    """But for objects: a backend, a function."""
    values = {
        "backend": "linux-elf",
        "collectors": ["raw"],
        "directory": str(tmp_path),
        "destination": "directory",
        "filters": ["zstd"],
        "listeners": ["notifier"],
        "name": "{id}",
        "threads": "caller",
        "content": "full",
        "timeout": 5.5,
        "target": 4711,
        "reason": "it hangs",
        "annotations": {"a": "b"},
        "with_dontdump": True,
        "allow_undumpable": True,
        "sources": True,
        "force": True,
        "huge_pages": True,
    }

    assert options_from_mapping(values) == values
    assert values.keys() == Options.__annotations__.keys() - {"on_event", "fired"}


def report_of(tmp_path, *collectors):
    return gencore.Pipeline(
        backend=SimulatedBackend(), collectors=collectors, directory=tmp_path
    ).run()


def test_a_collector_is_made_with_its_options(tmp_path):
    """For each dump anew."""
    report = report_of(tmp_path, gencore.CollectorSpec(Told, options={"top": 3}))

    assert json.loads(report.path_of("told").read_text())["top"] == 3


def test_an_option_that_a_collector_does_not_take_is_a_usage_error(tmp_path):
    """When the pipeline is built, not at the instant."""
    for spec in (
        gencore.CollectorSpec(Told, options={"bottom": 3}),
        gencore.CollectorSpec("raw", options={"bottom": 3}),
    ):
        with pytest.raises(gencore.UsageError, match=r"collector '\w+': unknown option bottom=3"):
            report_of(tmp_path, spec)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), "5", True])
def test_a_collectors_timeout_is_a_number_of_seconds(tmp_path, timeout):
    """More than none, and not for ever."""
    with pytest.raises(gencore.UsageError, match="not a number of seconds"):
        report_of(tmp_path, gencore.CollectorSpec(Told, timeout=timeout))


class Fails(Told):
    """Cannot."""

    def finish(self, _dump):
        raise OSError("no")


def test_a_dump_is_complete_without_an_optional_collector(tmp_path):
    """That it failed is a warning; a required one makes the dump partial."""
    optional = report_of(tmp_path, gencore.CollectorSpec(Fails, required=False), "raw")
    required = report_of(tmp_path, gencore.CollectorSpec(Fails), "raw")

    assert (optional.result, optional.exit_code) == ("complete", 0)
    assert optional.warnings == ("optional collector 'told' failed: OSError: no",)
    assert (required.result, required.exit_code) == ("partial", 3)


@pytest.mark.parametrize("method", ["__init__", "observe", "begin"])
def test_an_optional_collector_may_fail_anywhere(tmp_path, method):
    """Also before and inside the pause."""

    def fail(*_):
        raise OSError("no")

    bad = type("Bad", (Told,), {method: fail})

    report = report_of(tmp_path, gencore.CollectorSpec(bad, required=False), "raw")

    assert report.result == "complete"
    assert report.warnings == ("optional collector 'told' failed: OSError: no",)


def test_an_optional_collector_need_not_be_installed(tmp_path):
    """A required one must."""
    report = report_of(tmp_path, gencore.CollectorSpec("nonesuch", required=False), "raw")

    assert report.result == "complete"
    assert "optional collector 'nonesuch'" in report.warnings[0]
    with pytest.raises(gencore.PluginError, match="nonesuch"):
        report_of(tmp_path, gencore.CollectorSpec("nonesuch"), "raw")


def test_an_argument_that_is_none_was_not_given(tmp_path):
    """For the calls of one artefact too."""
    core = gencore.create_core(directory=tmp_path, collectors=None, backend=None, name=None)

    assert core.name.endswith(".core")

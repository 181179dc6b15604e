"""Every command prints what its published schema says, and no field that it does not name."""

import json
import os
import subprocess
import sys
from importlib.resources import files

import click
import pytest
from jsonschema import Draft202012Validator

from gencore.cli import gencore as command_line
from gencore.output import Output

SCHEMAS = {
    path.name.removesuffix(".json"): json.loads(path.read_text(encoding="utf-8"))
    for path in (files("gencore.cli") / "schemas").iterdir()
}
ARMED = "print('ready', flush=True); input()"


def commands(group=command_line, context=None, above=()):
    """Yield the path of every command that has ``--json``, and the command."""
    context = click.Context(group, parent=context)
    for name in group.list_commands(context):
        command, path = group.get_command(context, name), (*above, name)
        if any(parameter.name == "as_json" for parameter in command.params):
            yield path, command
        if isinstance(command, click.Group):
            yield from commands(command, context, path)


COMMANDS = dict(commands())


def closed(schema):
    """Return the schema with every object closed to fields that it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    rest = {"additionalProperties": False} if "properties" in schema else {}
    return {**{key: closed(value) for key, value in schema.items()}, **rest}


def check(path, out):
    """Check what a command has printed; return it."""
    shown = json.loads(out)
    Draft202012Validator(closed(SCHEMAS["-".join(path)])).validate(shown)
    assert next(iter(shown)) == "schema_version"
    return shown


@pytest.fixture
def cli(inside, monkeypatch, tmp_path):
    """Return a function that runs a command with ``--json`` and checks what it prints."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*words):
        out = inside(*words, "--json")[1]
        path = words[:2] if words[:2] in COMMANDS else words[:1]
        return check(path, out)

    return run


def test_every_command_with_json_has_a_schema_and_prints_it(inside):
    """And no schema is left of a command that is gone."""
    assert {"-".join(path) for path in COMMANDS} == set(SCHEMAS)
    for path in COMMANDS:
        code, out, _ = inside(*path, "--schema")
        assert (code, json.loads(out)) == (0, SCHEMAS["-".join(path)])


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid_and_says_what_it_is_of(name):
    """By the rules of its draft."""
    schema = SCHEMAS[name]

    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema["$id"] == f"https://gencore.invalid/schema/{name}-1.json"
    assert schema["title"] == f"gencore {name.replace('-', ' ')} --json"


def test_a_definition_of_one_name_is_the_same_in_every_schema():
    """Each schema is whole without the others."""
    seen = {}
    for name, schema in SCHEMAS.items():
        for key, definition in schema["$defs"].items():
            if key != "result":
                assert seen.setdefault(key, definition) == definition, (name, key)


def test_what_needs_numpy_keeps_to_its_schema(tmp_path):
    """In a process of its own: numpy stays out of this one, which other tests dump."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    code = "import gencore, sys; print(gencore.collect_core(directory=sys.argv[1]))"
    made = [sys.executable, "-c", code, tmp_path]
    bundle = subprocess.run(made, capture_output=True, text=True, check=True).stdout.strip()

    def shown(*command):
        program = [sys.executable, "-m", "gencore", command[0], "--json", *command[1:]]
        done = subprocess.run(program, capture_output=True, env=environment, check=True)
        return check(command[:1], done.stdout)

    heap = shown("heap", "--retained", bundle)
    assert heap["types"]
    holder = heap["retained"]["holders"][0]
    assert shown("referrers", "--to-root", bundle, holder["address"])["way"] == holder["way"]
    program = [sys.executable, "-m", "gencore", "referrers", "--json", bundle, "0x1000"]
    unknown = subprocess.run(program, capture_output=True, env=environment, check=False)
    assert check(("referrers",), unknown.stdout)["exit_code"] == unknown.returncode == 2
    assert shown("diff", bundle, bundle) == {
        "schema_version": heap["schema_version"],
        "same_process": True,
        "grown": [],
        "other_malloc": None,
        "incomplete": None,
    }
    assert shown("why", bundle)["groups"]
    module, *_ = shown("objects", "--type", "module", bundle)["objects"]
    assert shown("inspect", bundle, module["address"])["attributes"]


def test_what_reads_bundles_keeps_to_its_schema(cli, bundle, tmp_path):
    """Bundles that cannot be read are rows of the list."""
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    (dumps / "broken.tar.gz").write_bytes(b"nonsense")
    (dumps / bundle.name).hardlink_to(bundle)

    assert [row["error"] is None for row in cli("list", dumps)["bundles"]] == [False, True]
    with Output(dumps, "unfinished") as output, output.create("core"):
        assert cli("list", dumps, "--all")["leftovers"]
    assert cli("info", bundle)["members"]
    assert cli("verify", bundle)["ok"]
    assert cli("stacks", bundle)["source"]
    assert cli("tasks", bundle)["incomplete"]  # a core of stacks has none
    assert not cli("locks", bundle)["waits"]  # the only thread dumps
    assert cli("extract", bundle, "manifest.json")["path"]
    assert cli("report", bundle)["size"]
    assert cli("open", bundle)["command"]
    assert cli("cache")["entries"]
    assert cli("cache", "clear")["removed"]


def test_what_looks_at_the_machine_keeps_to_its_schema(cli):
    """Whatever is installed."""
    assert cli("plugins")["plugins"]
    assert cli("plugins", "show", "archive")["plugins"]
    assert cli("plugins", "new", "collector", "heap-stats")["next"]
    assert cli("doctor")["checks"]
    assert cli("doctor", "--pid", str(os.getpid()))["reasons"]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_error_keeps_to_the_schema_of_its_command(cli, path):
    """A wrong use is an error like any other."""
    shown = cli(*path, "--no-such-option")

    assert (shown["error"], shown["exit_code"]) == ("UsageError", 2)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("info", "junk"), "IntegrityError"),
        (("demo", "--directory", "none"), "OutputError"),
        (("demo", "--backend", "windows"), "Unsupported"),
        (("plugins", "show", "none"), "PluginError"),
        (("dump", "--name", "no such process"), "TargetUnavailable"),
    ],
)
def test_a_failure_keeps_to_the_schema_of_its_command(cli, tmp_path, words, error):
    """With its class, whatever that is."""
    (tmp_path / "junk").write_bytes(b"nonsense" * 100)

    assert cli(*words)["error"] == error


def test_what_dumps_keeps_to_its_schema(tmp_path):
    """The service of `demo`, and an armed process and one that is gone in one call of `dump`."""
    gencore_ = [sys.executable, "-m", "gencore"]

    def run(*words):
        done = subprocess.run(
            [*gencore_, *words, "--json"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
            env={**os.environ, "GENCORE_CONFIG": str(settings)},
        )
        return check(words[:1], done.stdout)

    settings = tmp_path / "gencore.toml"
    settings.write_text("content = 'stacks'")
    with subprocess.Popen(
        [*gencore_, "exec", "--", sys.executable, "-c", ARMED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as armed:
        armed.stdout.readline()
        processes = run("ps")["processes"]
        rows = run("dump", str(armed.pid), str(2**22 + 1))["dumps"]
        armed.stdin.close()

    assert armed.pid in {process["pid"] for process in processes}
    assert [row["error"] is None for row in rows] == [True, False]
    assert run("demo")["read_back"]["threads"]

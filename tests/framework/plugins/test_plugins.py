"""Finding and loading plug-ins, good and bad."""

import json
import sys

import pytest

import gencore
from gencore._plugins import loader

GOOD = """
from gencore import Collector
class C(Collector):
    name = "{name}"
    api_version = {version}
    def finish(self, dump):
        return []
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that puts a distribution with one collector on sys.path."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(distribution, name, code):
        module = distribution.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[gencore.collectors]\n{name} = {module}:C\n")

    yield add
    for module in [m for m in sys.modules if m.startswith("sample_")]:
        del sys.modules[module]


def status_of(name):
    return {p.entry.name: (p.status, p.reason) for p in loader.load_all("collector")}[name]


def test_a_third_party_collector_is_loaded(install, tmp_path_factory):
    """By its name, as the built-in ones are."""
    install("sample-good", "sample", GOOD.format(name="sample", version=(1, 0)))

    report = gencore.Pipeline(
        collectors=["sample", "raw"], directory=tmp_path_factory.mktemp("out")
    ).run()

    assert report.result == "complete"


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("import no_such_module", "failed", "ModuleNotFoundError"),
        ("raise AssertionError('broken')", "failed", "AssertionError: broken"),
        ("import sys; sys.exit(3)", "failed", "sys.exit(3)"),
        ("C = 1", "incompatible", "not a subclass of gencore.Collector"),
        (GOOD.format(name="sample", version=(0, 9)), "incompatible", "accepts 1.0 to 1.x"),
        (GOOD.format(name="sample", version=(2, 0)), "incompatible", "version 2.0"),
        (GOOD.format(name="sample", version="'1'"), "incompatible", "version '1'"),
        (GOOD.format(name="other", version=(1, 0)), "incompatible", "must be one"),
    ],
)
def test_a_bad_plug_in_becomes_a_status_with_its_reason(install, code, status, words):
    """And using it by name raises PluginError with that reason."""
    install("sample-bad", "sample", code)

    found, reason = status_of("sample")

    assert found == status
    assert words in reason
    with pytest.raises(gencore.PluginError) as caught:
        gencore.Pipeline(collectors=["sample"])
    assert caught.value.status == status


def test_a_duplicated_name_is_refused_and_both_claimants_named(install):
    """Neither wins by luck; `distribution:name` chooses."""
    install("sample-one", "sample", GOOD.format(name="sample", version=(1, 0)))
    install("sample-two", "sample", GOOD.format(name="sample", version=(1, 0)))

    with pytest.raises(gencore.PluginError, match=r"sample-one 1.0 and sample-two 1.0"):
        gencore.Pipeline(collectors=["sample"])
    assert loader.load_named("collector", "sample-two:sample").entry.distribution == "sample-two"


def test_of_two_copies_of_a_distribution_the_first_on_the_path_counts(
    install, tmp_path_factory, monkeypatch
):
    """As for an import: an older copy behind it is no rival."""
    install("sample-good", "sample", GOOD.format(name="sample", version=(1, 0)))
    info = tmp_path_factory.mktemp("older") / "sample_good-0.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Sample-Good\nVersion: 0.9\n")
    (info / "entry_points.txt").write_text("[gencore.collectors]\nsample = sample_good:C\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(info.parent)])

    loaded = loader.load_named("collector", "sample")

    assert loaded.entry.version == "1.0"


def test_ctrl_c_during_an_import_is_not_the_plug_ins_fault(install):
    """The one exception that goes through."""
    install("sample-slow", "sample", "raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        status_of("sample")


def test_policy_turns_third_party_plug_ins_off(install, monkeypatch):
    """GENCORE_DISABLE_PLUGIN_AUTOLOAD disables them, GENCORE_PLUGINS allows by name."""
    install("sample-good", "sample", GOOD.format(name="sample", version=(1, 0)))

    monkeypatch.setenv("GENCORE_DISABLE_PLUGIN_AUTOLOAD", "1")
    assert status_of("sample")[0] == "disabled"
    assert status_of("raw")[0] == "ok"
    monkeypatch.setenv("GENCORE_PLUGINS", "other, sample")
    assert status_of("sample")[0] == "ok"
    monkeypatch.setenv("GENCORE_PLUGINS", "other")
    assert status_of("sample")[0] == "disabled"


def test_the_policy_may_name_the_distribution(install, monkeypatch):
    """Of two that claim a name, the one that is allowed has it."""
    install("sample-one", "sample", GOOD.format(name="sample", version=(1, 0)))
    install("sample-two", "sample", GOOD.format(name="sample", version=(1, 0)))
    monkeypatch.setenv("GENCORE_PLUGINS", "sample-two:sample")

    loaded = loader.load_named("collector", "sample-two:sample")
    assert (loaded.status, loaded.entry.distribution) == ("ok", "sample-two")
    with pytest.raises(gencore.PluginError, match="not named in GENCORE_PLUGINS"):
        loader.load_named("collector", "sample-one:sample")


def test_the_policy_holds_for_one_that_is_chosen_by_its_distribution(install, monkeypatch):
    """Naming it more closely does not get round it."""
    install("sample-one", "sample", GOOD.format(name="sample", version=(1, 0)))
    install("sample-two", "sample", GOOD.format(name="sample", version=(1, 0)))
    monkeypatch.setenv("GENCORE_DISABLE_PLUGIN_AUTOLOAD", "1")

    with pytest.raises(gencore.PluginError) as caught:
        gencore.Pipeline(collectors=["sample-one:sample"])
    assert caught.value.status == "disabled"


def test_a_disabled_plug_in_takes_no_name(install, monkeypatch, tmp_path_factory):
    """One that claims a built-in name is out of the way; `a-` sorts before `gencore`."""
    install("a-raw", "raw", GOOD.format(name="raw", version=(1, 0)))
    assert status_of("raw")[0] == "conflict"
    monkeypatch.setenv("GENCORE_DISABLE_PLUGIN_AUTOLOAD", "1")

    statuses = {p.entry.distribution: p.status for p in loader.load_all("collector")}
    path = gencore.create_core(directory=tmp_path_factory.mktemp("out"))

    assert (statuses["a-raw"], statuses["gencore"]) == ("disabled", "ok")
    assert path.exists()


def test_a_disabled_plug_in_is_not_imported(install, monkeypatch):
    """The policy holds before its first line runs."""
    install("sample-evil", "sample", "raise SystemExit('ran')")
    monkeypatch.setenv("GENCORE_DISABLE_PLUGIN_AUTOLOAD", "1")

    assert status_of("sample")[0] == "disabled"
    assert "sample_evil" not in sys.modules


@pytest.mark.parametrize("family", ["backend", "collectors"])
def test_an_unknown_name_is_answered_with_the_known_ones(family):
    """The message lists what is installed."""
    wrong = "nonesuch" if family == "backend" else ["nonesuch"]

    with pytest.raises(gencore.PluginError, match=r"installed: .*(linux-sigsegv|manifest, raw)"):
        gencore.Pipeline(**{family: wrong})


def test_discovery_writes_nothing_below_home_or_the_current_directory(python, tmp_path):
    """Stevedore's cache is not used."""
    code = "import gencore, json; gencore.Pipeline(); print(json.dumps('ok'))"

    python(code, env={"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}, cwd=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_import_loads_neither_stevedore_nor_tqdm_nor_click(python):
    """The heavy ones come when they are needed."""
    code = "import gencore, json, sys; print(json.dumps(sorted(sys.modules)))"

    loaded = {name.partition(".")[0] for name in python(code)}

    assert loaded.isdisjoint({"stevedore", "tqdm", "click", "elftools", "isal"})


def test_every_public_name_can_be_had():
    """What is promised is there, and nothing else is listed."""
    assert all(getattr(gencore, name) is not None for name in gencore.__all__)
    assert dir(gencore) == sorted(gencore.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        _ = gencore.nonesuch


def test_rows_are_json(install):
    """What `gencore plugins --json` prints can be printed for bad plug-ins too."""
    install("sample-bad", "sample", "import no_such_module")

    rows = [plugin.as_dict() for plugin in loader.load_all("collector")]

    assert "no_such_module" in json.dumps(rows)

"""Finding and loading plug-ins, good and bad."""

import functools
import json
import sys

import pytest

import gencore
from gencore._plugins import loader
from gencore._plugins.catalogue import faults_of_policy
from gencore.testing import SimulatedBackend

GOOD = """
from gencore import Collector
class C(Collector):
    name = "{name}"
    api_version = {version}
    def finish(self, dump):
        return []
"""
ABSTRACT = """
from gencore import Collector
class C(Collector):
    name = "sample"
    api_version = (1, 0)
"""
BACKEND = """
from gencore import Backend, Verdict
class C(Backend):
    name = "{name}"
    priority = {priority}
    api_version = (1, 0)
    def probe(self, request):
        return Verdict.yes()
    def snapshot(self, *arguments, **options):
        raise NotImplementedError
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that puts a distribution with one plug-in on sys.path."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(distribution, name, code, group="collectors"):
        module = distribution.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[gencore.{group}]\n{name} = {module}:C\n")

    yield add
    for module in [m for m in sys.modules if m.startswith("sample_")]:
        del sys.modules[module]


def status_of(name, distribution=None):
    for plugin in loader.load_all("collector"):
        if plugin.entry.name == name and distribution in {None, plugin.entry.distribution}:
            return plugin.status, plugin.reason
    raise LookupError(name)


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
        (ABSTRACT, "incompatible", "methods of its contract are missing: finish"),
        (GOOD.format(name="sample", version=(0, 9)), "incompatible", "accepts 1.0 to 1.1"),
        (GOOD.format(name="sample", version=(2, 0)), "incompatible", "version 2.0"),
        (GOOD.format(name="sample", version=(1, 2)), "incompatible", "version 1.2"),
        (GOOD.format(name="sample", version=(True, False)), "incompatible", "(True, False)"),
        (GOOD.format(name="sample", version="'1'"), "incompatible", "version is '1'"),
        (GOOD.format(name="sample", version=[1, 0]), "incompatible", "version is [1, 0]"),
        (GOOD.format(name="other", version=(1, 0)), "incompatible", "must be one"),
        (GOOD.format(name="other", version=(1, 0)) + "    name = 5", "incompatible", "name is 5"),
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


@pytest.mark.parametrize("attribute", ["name", "api_version"])
@pytest.mark.parametrize("error", ["OSError('no licence')", "SystemExit('no licence')"])
def test_a_class_whose_attribute_raises_is_a_row(install, attribute, error):
    """The others are listed, and the reason names what it raised."""
    code = GOOD.format(name="sample", version=(1, 0))
    meta = f"""
class Meta(type(C)):
    @property
    def {attribute}(cls):
        raise {error}
C = Meta("D", (C,), {{}})
"""
    install("sample-bad", "sample", code + meta)

    status, reason = status_of("sample")

    assert (status, status_of("raw")[0]) == ("failed", "ok")
    assert reason.startswith("reading its attributes ")
    assert "no licence" in reason


def test_an_error_that_cannot_be_shown_is_a_reason_too(install):
    """Its class is named."""
    code = """
class Odd(Exception):
    def __str__(self):
        raise ValueError
raise Odd
"""
    install("sample-odd", "sample", code)

    status, reason = status_of("sample")
    assert status == "failed"
    assert reason.startswith("its import raises Odd: its message cannot be shown")


@pytest.mark.parametrize(
    ("version", "remedy"),
    [((1, 2), "--upgrade gencore"), ((0, 9), "--upgrade sample-other")],
)
def test_the_outdated_one_of_two_contracts_is_to_be_upgraded(install, version, remedy):
    """A plug-in for a newer contract needs a newer gencore, an older one its own next version."""
    install("sample-other", "sample", GOOD.format(name="sample", version=version))

    with pytest.raises(gencore.PluginError) as caught:
        loader.load_named("collector", "sample")
    assert caught.value.remedy == f"pip install {remedy}"


def test_a_built_in_plug_in_keeps_its_name(install, tmp_path_factory):
    """Another of that name is shadowed, not imported, and can be named in full."""
    install("a-raw", "raw", GOOD.format(name="raw", version=(1, 0)))

    path = gencore.create_core(directory=tmp_path_factory.mktemp("out"))

    assert path.exists()
    assert "a_raw" not in sys.modules
    assert status_of("raw", "gencore") == ("ok", None)
    assert status_of("raw", "a-raw")[0] == "shadowed"
    assert loader.load_named("collector", "raw").entry.distribution == "gencore"
    assert loader.load_named("collector", "a-raw:raw").entry.distribution == "a-raw"


def test_no_policy_gives_a_built_in_name_away(install, monkeypatch):
    """Allowed is not preferred."""
    install("a-raw", "raw", GOOD.format(name="raw", version=(1, 0)))
    monkeypatch.setenv("GENCORE_PLUGINS", "raw, a-raw:raw")

    assert loader.load_named("collector", "raw").entry.distribution == "gencore"


def test_a_third_party_backend_is_not_even_imported_unless_it_is_named(install):
    """Whatever its priority, and however its import ends."""
    install("sample-high", "high", BACKEND.format(name="high", priority=10**9), "backends")
    install("sample-slow", "slow", "raise SystemExit('imported')", "backends")

    pipeline = gencore.Pipeline(collectors=["raw"])

    assert {c.backend.name for c in pipeline._selection.backends}.isdisjoint({"high", "slow"})
    assert not {"sample_high", "sample_slow"} & sys.modules.keys()
    assert pipeline._selection.warnings == ()


def test_a_third_party_backend_can_be_chosen_by_name_or_by_policy(install, monkeypatch):
    """An argument and GENCORE_BACKEND name it, GENCORE_PLUGINS lets its priority count."""
    install("sample-high", "high", BACKEND.format(name="high", priority=10**9), "backends")

    def chosen(**options):
        return gencore.Pipeline(**options)._choose()[0].name

    assert chosen(backend="high") == "high"
    assert chosen(backend="sample-high:high") == "high"
    with monkeypatch.context() as patch:
        patch.setenv("GENCORE_BACKEND", "high")
        assert chosen() == "high"
    assert chosen() != "high"
    monkeypatch.setenv("GENCORE_PLUGINS", "high")
    assert chosen() == "high"


def test_where_no_built_in_backend_works_the_others_are_offered(install, monkeypatch):
    """With what names each, and why each was not asked."""
    monkeypatch.setattr(sys, "platform", "plan9")
    code = BACKEND.format(name="high", priority=10**9)
    install("sample-high", "high", code, "backends")
    install("sample-elf", "linux-elf", code, "backends")
    install("sample-one", "twin", code, "backends")
    install("sample-two", "twin", code, "backends")

    with pytest.raises(gencore.Unsupported) as caught:
        gencore.start()

    verdicts = caught.value.verdicts
    remedies = {
        name: reason.remedy for name, verdict in verdicts.items() for reason in verdict.reasons
    }
    assert "used only if it is named" in verdicts["high"].reasons[0].text
    assert remedies["high"] == "GENCORE_BACKEND=high"
    assert remedies["sample-elf:linux-elf"] == "GENCORE_BACKEND=sample-elf:linux-elf"
    assert remedies["sample-two:twin"] == "GENCORE_BACKEND=sample-two:twin"
    assert "linux-elf" in verdicts
    assert "GENCORE_BACKEND=high" in caught.value.remedy


def test_a_backend_whose_object_has_an_attribute_that_raises_is_passed_over(install, monkeypatch):
    """With a warning: it was allowed, and cannot be used."""
    code = BACKEND.format(name="high", priority=1)
    code += "    @property\n    def method(self):\n        raise OSError('no licence')\n"
    install("sample-bad", "high", code, "backends")
    monkeypatch.setenv("GENCORE_PLUGINS", "high")

    (warning,) = gencore.Pipeline()._selection.warnings

    assert "reading its attributes raises OSError: no licence" in warning


class Named(gencore.Collector):
    """Has the name of another one."""

    name = "raw"
    api_version = (1, 0)

    def finish(self, _dump):
        return []


@pytest.mark.parametrize(
    "collectors",
    [["raw", Named], ["raw", "gencore:raw"], ["raw", functools.partial(Named)]],
)
def test_two_collectors_of_one_name_are_refused(collectors):
    """When the pipeline is built: their files would have one name too."""
    with pytest.raises(gencore.UsageError, match="'raw' is given 2 times"):
        gencore.Pipeline(collectors=collectors)


def test_collectors_made_by_functions_are_compared_before_the_pause(tmp_path):
    """Only what they return has a name."""
    backend = SimulatedBackend()
    backend.snapshot = None

    def make():
        return Named()

    pipeline = gencore.Pipeline(backend=backend, collectors=[make, Named], directory=tmp_path)

    with pytest.raises(gencore.UsageError, match="'raw' is given 2 times"):
        pipeline.start()


def test_a_duplicated_name_is_refused_and_both_claimants_named(install):
    """Neither wins by luck; `distribution:name` chooses."""
    install("sample-one", "sample", GOOD.format(name="sample", version=(1, 0)))
    install("sample-two", "sample", GOOD.format(name="sample", version=(1, 0)))

    with pytest.raises(gencore.PluginError, match=r"sample-one 1.0 and sample-two 1.0"):
        gencore.Pipeline(collectors=["sample"])
    assert loader.load_named("collector", "sample-two:sample").entry.distribution == "sample-two"


@pytest.mark.parametrize(
    ("first", "second"), [("sample-good", "Sample-Good"), ("Sample-Good", "sample-good")]
)
def test_of_two_copies_of_a_distribution_the_first_on_the_path_counts(
    install, tmp_path_factory, monkeypatch, first, second
):
    """As for an import: an older copy behind it is no rival, however its name is written."""
    install(first, "sample", GOOD.format(name="sample", version=(1, 0)))
    info = tmp_path_factory.mktemp("older") / "sample_good-0.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {second}\nVersion: 0.9\n")
    (info / "entry_points.txt").write_text("[gencore.collectors]\nsample = sample_good:C\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(info.parent)])

    loaded = loader.load_named("collector", "sample")

    assert loaded.entry.version == "1.0"


@pytest.mark.parametrize(
    ("metadata", "found"),
    [("Metadata-Version: 2.1\nName: Sample-Good\nVersion: 2.0\n", False), ("", True)],
    ids=["a-version-without-plug-ins", "a-remainder-without-a-name"],
)
def test_a_copy_without_plug_ins_hides_them_if_it_comes_first(
    install, tmp_path_factory, monkeypatch, metadata, found
):
    """An import would not find them either. What an uninstallation has left behind hides none."""
    install("sample-good", "sample", GOOD.format(name="sample", version=(1, 0)))
    info = tmp_path_factory.mktemp("newer") / "sample_good-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(metadata)
    monkeypatch.setattr(sys, "path", [str(info.parent), *sys.path])

    distributions = {loaded.entry.distribution for loaded in loader.load_all("collector")}

    assert ("sample-good" in distributions) is found


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("entry_points.txt", b"[gencore.backends]\nno equals sign\n"),
        ("entry_points.txt", b"\xff"),
        ("METADATA", b"Metadata-Version: 2.1\nName: sample-malformed\nAuthor: J\xfcrgen\n"),
        ("METADATA", b"\0"),
    ],
    ids=["no-equals-sign", "entry-points-no-UTF-8", "metadata-no-UTF-8", "metadata-NUL"],
)
def test_a_distribution_that_cannot_be_read_has_no_plug_ins(install, tmp_path, file, text):
    """And costs nothing else."""
    install("sample-malformed", "sample", "")
    (tmp_path / "sample_malformed-1.0.dist-info" / file).write_bytes(text)

    assert status_of("raw") == ("ok", None)
    assert "sample-malformed" not in {p.entry.distribution for p in loader.load_all("backend")}


@pytest.mark.parametrize("family", ["backend", "collector", "destination", "filter", "listener"])
def test_a_remedy_names_the_option_of_its_family(install, family):
    """It can be pasted."""
    for distribution in ("sample-one", "sample-two"):
        install(distribution, "sample", "", group=f"{family}s")

    with pytest.raises(gencore.PluginError) as caught:
        loader.load_named(family, "sample")

    option = {"backend": "GENCORE_BACKEND=", "destination": "destination='"}.get(
        family, f"{family}s=['"
    )
    assert caught.value.remedy.startswith(f"{option}sample-")


def test_no_distribution_takes_the_place_of_gencore(install):
    """Its name may be written in other letters, and it may be the first on the path."""
    install("Gencore", "raw", GOOD.format(name="raw", version=(1, 0)))

    assert status_of("raw", "gencore") == ("ok", None)
    assert "Gencore" not in {p.entry.distribution for p in loader.load_all("collector")}


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


def test_what_the_policy_names_in_vain_is_reported(install, tmp_path, monkeypatch):
    """Where a plug-in is refused because of it, and in the report of each dump."""
    install("sample-good", "sample", GOOD.format(name="sample", version=(1, 0)))
    monkeypatch.setenv("GENCORE_PLUGINS", "smaple, raw, sample-good")
    pipeline = gencore.Pipeline(collectors=["raw"], directory=tmp_path, backend=SimulatedBackend())

    with pytest.raises(gencore.PluginError) as caught:
        loader.load_named("collector", "sample")
    report = pipeline.run()

    assert caught.value.status == "disabled"
    assert caught.value.reason.endswith(", which names 'sample-good', 'smaple' (not installed)")
    assert caught.value.remedy == "GENCORE_PLUGINS=raw,sample-good:sample"
    assert report.warnings == (
        "GENCORE_PLUGINS names 'sample-good', which is not installed; installed: sample",
        "GENCORE_PLUGINS names 'smaple', which is not installed; installed: sample",
    )


def test_what_the_policy_names_in_vain_has_a_remedy(install):
    """The nearest name, else the names without it."""
    install("sample-good", "sample", GOOD.format(name="sample", version=(1, 0)))

    def remedies(names):
        return [fault.remedy for fault in faults_of_policy({"GENCORE_PLUGINS": names})]

    assert remedies("smaple") == ["did you mean 'sample'?"]
    assert remedies("sample-good") == ["did you mean 'sample-good:sample'?"]
    assert remedies("kubernetes,sample,raw") == ["GENCORE_PLUGINS=raw,sample"]
    assert remedies("sample") == remedies("") == []


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


SEARCH = {"stevedore", "importlib.metadata", "email"}
"""What it takes to search all installed distributions, and to load a plug-in of another one."""


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import gencore", {*SEARCH, "attrs", "click", "logging", "isal"}),
        ("import gencore; gencore.Backend", {*SEARCH, "gencore.watching", "gencore.collector"}),
        ("import gencore; gencore.arm()", {*SEARCH, "attrs", "click", "isal", "logging"}),
        ("import gencore; gencore.Pipeline().check()", {*SEARCH, "cattrs", "tqdm", "click"}),
        (
            "import gencore._recorder.process; import gencore; gencore.Pipeline()",
            {*SEARCH, "cattrs", "tqdm", "click", "asyncio"},
        ),
        (
            "import gencore.cli.dump",
            {*SEARCH, "cattrs", "jinja2", "asyncio", "importlib.resources", "gencore.bundle"},
        ),
    ],
    ids=["import", "name", "armed", "pipeline", "recorder", "gencore-dump"],
)
def test_what_is_heavy_is_loaded_where_it_is_needed(python, code, heavy):
    """A service, a recorder and the command each pay for what they use."""
    print_loaded = "import json, sys; print(json.dumps([*sys.modules]))"

    assert heavy.isdisjoint(python(f"{code}\n{print_loaded}"))


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


def test_a_listener_is_installed_and_named_like_any_plug_in(install, tmp_path):
    """TOML can name a notifier; it gets the final report, with the dump's id in it."""
    install("sample-note", "note", "told = []\ndef C(event): told.append(event)", "listeners")
    mapping = {"collectors": ["raw"], "directory": str(tmp_path / "out"), "listeners": ["note"]}
    (tmp_path / "out").mkdir()

    report = gencore.Pipeline.from_mapping({**mapping, "backend": "linux-elf"}).run()

    last = sys.modules["sample_note"].told[-1]
    assert (last.report.id, last.report.result) == (report.id, "complete")
    assert len(report.id) == 36


def test_what_is_no_listener_is_a_row_with_its_reason(install):
    """It must be callable."""
    install("sample-note", "note", "C = 1", "listeners")

    (loaded,) = loader.load_all("listener")
    assert (loaded.status, loaded.reason) == ("incompatible", "sample_note:C is not callable")

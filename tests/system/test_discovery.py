"""Looking for plug-ins touches nothing below the current directory or HOME, whatever these are."""

import json
import os
import subprocess
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
UNKNOWN_USER = "12345"
LOADS_ALL = "import gencore; gencore.Pipeline()"
STEVEDORES_WAY = "from stevedore import ExtensionManager; ExtensionManager('gencore.backends')"
TRAPS = ("gencore", "gencore_backends", "stevedore", "click", "attrs", "json", "sitecustomize")

pytestmark = pytest.mark.timeout(300)


def set_traps(directory):
    """Fill *directory* with what must not be imported, listed or read; return it."""
    directory.mkdir()
    for name in TRAPS:
        (directory / f"{name}.py").write_text("raise SystemExit('the trap was imported')")
    metadata = directory / "trap-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: trap\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[gencore.collectors]\ntrap = trap:Trap\n")
    cache = directory / ".cache" / "python-entrypoints"
    cache.mkdir(parents=True)
    (cache / ".keep").touch()
    return directory


@pytest.fixture
def home(tmp_path):
    """Return a home directory full of traps."""
    return set_traps(tmp_path / "home")


@pytest.fixture
def here(tmp_path):
    """Return a current directory full of traps."""
    return set_traps(tmp_path / "here")


@pytest.fixture
def scripts(with_plugins, tmp_path):
    """Return what is run: the command, a program that loads all plug-ins, and stevedore's way."""
    found = {"plugins": [with_plugins / "gencore", "plugins", "--json"]}
    for name, code in {"pipeline": LOADS_ALL, "stevedores-way": STEVEDORES_WAY}.items():
        path = tmp_path / name
        path.write_text(f"#!{with_plugins / 'python'} -P\n{code}")
        path.chmod(0o700)
        found[name] = [path]
    return found


@pytest.fixture
def run(here):
    """Return a function that runs a command there, without this process's environment."""

    def run_there(*command, home=None):
        environment = {"PATH": os.environ["PATH"], **({} if home is None else {"HOME": home})}
        return subprocess.run(
            command, cwd=here, env=environment, capture_output=True, text=True, check=False
        )

    return run_there


def names_in(done):
    assert done.returncode == 0, done.stderr
    return {row["name"] for row in json.loads(done.stdout)["plugins"]}


def files_below(*directories):
    return {path: path.lstat().st_mtime_ns for top in directories for path in top.rglob("*")}


@pytest.fixture
def touched(run, with_plugins, scripts, here, home):
    """Return a function that runs one of the scripts, and lists what it touched below both."""

    def touched_by(name, *prefix, **options):
        out = here.with_name("touched.json")
        audited = [with_plugins / "python", "-P", PROGRAMS / "audited.py", out]
        done = run(*prefix, *audited, *scripts[name], **options)
        assert done.returncode == 0, done.stderr
        paths = {(event, Path(path)) for event, path in json.loads(out.read_text())}
        assert len(paths) > 100
        traps = {here, home}
        return {(event, path) for event, path in paths if traps & {path, *path.parents}}

    return touched_by


@pytest.mark.parametrize("name", ["plugins", "pipeline"])
@pytest.mark.parametrize("with_home", [True, False])
def test_nothing_is_read_or_written_below_home_or_the_current_directory(
    touched, home, here, name, with_home
):
    """Listing all plug-ins and loading them, where HOME is set and where it is not."""
    before = files_below(home, here)

    assert touched(name, home=home if with_home else None) == set()
    assert files_below(home, here) == before


def test_the_watch_would_see_stevedores_cache(touched, home):
    """Which is what would be used without our own catalogue."""
    assert {path.parent for _, path in touched("stevedores-way", home=home)} & {
        home / ".cache" / "python-entrypoints"
    }


def test_the_same_plug_ins_are_found_whatever_home_is(run, scripts, home):
    """Set, absent, and a directory that does not exist."""
    found = [names_in(run(*scripts["plugins"], home=h)) for h in (home, None, "/nonesuch")]

    assert found[0] == found[1] == found[2]
    assert {"raw", "kubernetes", "import-error"} <= found[0]
    assert "trap" not in found[0]


@pytest.fixture
def nameless(tool, home):
    """Return the prefix of a command whose user is a mere number, and may not write to HOME."""
    user = ["--unshare-user", "--uid", UNKNOWN_USER, "--gid", UNKNOWN_USER]
    return [tool("bwrap"), "--dev-bind", "/", "/", "--ro-bind", home, home, *user, "--"]


@pytest.mark.parametrize("with_home", [True, False])
def test_a_user_without_a_name_and_with_a_read_only_home_has_plug_ins(
    run, nameless, scripts, home, with_home
):
    """As in a container that is run with any number for a user."""
    options = {"home": home if with_home else None}

    assert run(*nameless, "id", "-u").stdout.strip() == UNKNOWN_USER
    assert "Read-only" in run(*nameless, "touch", home / "new").stderr
    assert {"raw", "kubernetes"} <= names_in(run(*nameless, *scripts["plugins"], **options))


@pytest.mark.parametrize("name", ["plugins", "pipeline"])
@pytest.mark.parametrize("with_home", [True, False])
def test_nothing_is_touched_for_such_a_user_either(touched, nameless, home, name, with_home):
    """Not even a directory called ~."""
    assert touched(name, *nameless, home=home if with_home else None) == set()

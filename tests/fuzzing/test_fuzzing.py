"""A short run of the fuzzer, always with the same seeds; and each of its rules, broken once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fuzzing import bundles, cases, commands, readers, rule, seeds, tars
from tests.fuzzing.damaged_copy import DamagedCopy

from gencore.bundle.codecs import CODECS

ROOT = Path(__file__).parents[2]
BUNDLES = seeds.CORPUS / "bundles"
SOUND = cases.Case(0, "bundle", "sound", (BUNDLES / "sound.tar.gz").read_bytes())


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("mode", "number"),
    [
        ("readers", 300),
        ("tars", 60),
        ("commands", 1),
        ("cores", 3),
        *(
            pytest.param(mode, number, marks=pytest.mark.exhaustive)
            for mode, number in (
                ("readers", 5000),
                ("tars", 800),
                ("commands", 12),
                ("cores", 40),
            )
        ),
    ],
)
def test_no_case_is_a_finding(mode, number):
    """In a process of its own, which limits itself; a finding is printed with its seed."""
    words = [sys.executable, "-m", "tests.fuzzing", mode, "--cases", str(number)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{number:,} cases from seed 0: 0 findings" in done.stdout


def test_a_seed_is_always_the_same_case():
    """Else a finding could not be repeated."""
    assert [cases.make(seed) for seed in range(50)] == [cases.make(seed) for seed in range(50)]


def test_nothing_is_left_of_the_damage_of_the_last_case(tmp_path):
    """Neither in words, nor at the end."""
    path = tmp_path / "core"
    path.write_bytes(bytes(range(256)) * 8000)
    copy = DamagedCopy(path, tmp_path / "damaged")
    for place in (0, 9, 12, 1_000_000, 2_047_992):
        copy.write(place, b"damaged!"[: place % 7 + 1])
    assert copy.path.read_bytes() != path.read_bytes()
    copy.truncate(17)

    copy.restore()

    assert copy.path.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", seeds.KINDS)
def test_the_corpus_is_what_its_script_writes(kind):
    """As far as there is one file for each name, and none is large."""
    files = list((seeds.CORPUS / f"{kind}s").iterdir())

    assert {file.name for file in files} == {name for name, _ in seeds.KINDS[kind]()}
    assert max(file.stat().st_size for file in files) < 64 << 10


@pytest.mark.parametrize(
    "path", sorted((seeds.CORPUS / "bundles").iterdir()), ids=lambda p: p.name
)
def test_what_verify_accepts_all_programs_read_alike(path):
    """GNU tar, bsdtar, Python's tarfile and `gencore extract`; no bundle of ours is refused."""
    for name in tars.COMMANDS:
        shutil.which(name) or pytest.skip(f"{name} is not installed")
    case = cases.Case(0, "bundle", path.name, path.read_bytes())

    (said,) = tars.check(case)

    ours = {
        f"{name}.{codec.extension}"
        for codec in CODECS
        for name, _ in seeds.sound_bundles(codec)
        if name != "zeros"  # no core
    }
    assert "accepted" in said or path.name not in ours


def test_a_reader_that_is_wrong_is_noticed(monkeypatch):
    """One byte, one name, or a message is enough."""

    def forgetful(_, folder):
        (folder / "x").write_bytes(b"")

    monkeypatch.setattr(tars, "READERS", {"forgetful": forgetful})
    with pytest.raises(readers.Finding, match="forgetful: lacks"):
        tars.check(SOUND)
    monkeypatch.setattr(tars, "READERS", {"noisy": lambda *_: "a warning"})
    with pytest.raises(readers.Finding, match="noisy: a warning"):
        tars.check(SOUND)


def test_bundles_that_verify_wrongly_accepts_are_noticed(monkeypatch):
    """With a verification that believes everything, the corpus has findings."""
    monkeypatch.setattr(tars, "verify", lambda _: ())
    path = BUNDLES / "data-behind-the-end.tar.gz"

    with pytest.raises(readers.Finding, match="extract: "):
        tars.check(cases.Case(0, "bundle", path.name, path.read_bytes()))


def raise_another(_, folder):
    return [][folder]


def endless(*_):
    while True:
        pass


def fill_memory(*_):
    return bytes(2 * rule.MEMORY)


def write_outside(*_):
    readers.OUTSIDE.touch()


@pytest.mark.parametrize(
    ("reader", "match"),
    [
        (raise_another, "TypeError"),
        (endless, "of CPU time"),
        (fill_memory, "MemoryError"),
        (write_outside, "outside the folder"),
    ],
)
def test_a_function_that_breaks_a_rule_is_noticed(monkeypatch, reader, match):
    """Each rule for functions."""
    monkeypatch.setattr(readers, "READERS", {"bundle": (reader,)})
    monkeypatch.setattr(rule, "EXPANSION", {})
    monkeypatch.setattr(rule, "SECONDS", 0.2)
    monkeypatch.setattr(readers, "OUTSIDE", Path(f"/tmp/gencore-fuzz-outside-{os.getpid()}"))
    try:
        with pytest.raises(readers.Finding, match=match):
            readers.check(SOUND)
    finally:
        readers.OUTSIDE.unlink(missing_ok=True)


def leave_a_file(_, target):
    (target / "left").touch()
    raise readers.GencoreError("x")


def climb(_, target):
    (target.parent / "x").touch()


def fill(_, target):
    (target / "x").write_bytes(b"x" * 2000)


@pytest.mark.parametrize(
    ("extract", "match"),
    [(leave_a_file, "left behind"), (climb, "outside the folder"), (fill, "on the disk")],
)
def test_an_extraction_that_breaks_a_rule_is_noticed(monkeypatch, extract, match):
    """It may write only below its folder, so many bytes, and nothing if it fails."""
    monkeypatch.setattr(readers, "extract", extract)
    monkeypatch.setattr(rule, "disk", lambda _: 1000)

    with pytest.raises(readers.Finding, match=match):
        readers.check(SOUND)


@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("import os; os.abort()", "ended with -6"),
        ("{}[0]", "Traceback"),
        ("exit(1)", "ended with 1"),
        ("exit(8)", "no reason"),
        ("while True: pass", "of CPU time"),
        ("bytes(1 << 30)", "MemoryError"),
        ("open('x', 'wb').truncate(1 << 40)", "ended with"),
        ("print('\\x1b[2J')", "prints '.x1b'"),
        ("import sys; print('x' * 70000, file=sys.stderr)", "characters of messages"),
        ("open('left', 'w')", "left .'left'"),
        ("open('../../left', 'w')", "left .'../../left'"),
        ("open('unpacked/x', 'wb').write(b'x' * 5000)", "bytes on the disk"),
    ],
)
def test_a_command_that_breaks_a_rule_is_noticed(monkeypatch, code, match):
    """Each rule for commands."""
    monkeypatch.setattr(commands, "PROGRAM", (sys.executable, "-c", code))
    monkeypatch.setattr(commands, "COMMANDS", (("extract", "FILE", ()),))
    monkeypatch.setattr(commands, "START", 0.5)
    monkeypatch.setattr(rule, "SECONDS", 0.2)
    monkeypatch.setattr(rule, "EXPANSION", dict.fromkeys(rule.EXPANSION, 0))
    if "disk" in match:
        monkeypatch.setattr(rule, "disk", lambda _: 1000)

    with pytest.raises(readers.Finding, match=match):
        commands.check(SOUND)


ASK = """
import os, time, warnings
from pathlib import Path
from tests.fuzzing import process_cores as cores

def ask(*_):
    return {fault}

core = Path({core!r})
cores.find_python = cores.why_incomplete = lambda *_: None
cores._ask = ask
told, cost = cores._read(core, core.parent, "stacks", ())
cores._compare(cost, cores.Cost(0, 0), core.stat().st_size)
print(told)
"""


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        ("{}[0]", "KeyError"),
        ("os.abort()", "SIGABRT"),
        ("warnings.warn('odd')", "UserWarning: odd"),
        ("len(b'x' * (100 << 20))", "MiB of memory"),
        ("bytes(1 << 30)", "MemoryError"),
        ("any(time.process_time() > 3 for _ in iter(int, 1))", "of CPU time"),
    ],
)
def test_an_answer_that_breaks_a_rule_is_noticed(fault, match):
    """Each rule for questions about a core, in a process that may load numpy."""
    core = str(seeds.CORPUS / "cores" / "sound.core")

    def run(what):
        program = [sys.executable, "-c", ASK.format(fault=what, core=core)]
        return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)

    assert run("0").stdout == "read\n"
    assert match in run(fault).stderr


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_bundle_is_the_same_when_it_is_put_together_again(codec):
    """Mutations begin with a bundle's parts."""
    data = (BUNDLES / f"sound.{codec.extension}").read_bytes()

    assert bundles.take_apart(data).build() == data

"""Each step at which a core can fail has a row, of which the documentation is made."""

import re
from pathlib import Path

from gencore import CoreFailed
from gencore_backends.linux import snapshot
from gencore_backends.linux.steps import STEPS

ROOT = Path(__file__).parents[2]
LINUX = ROOT / "backends" / "gencore_backends" / "linux"
NATIVE = LINUX / "native"
FRAMEWORK = ROOT / "framework" / "gencore"
PAGE = ROOT / "docs" / "explanation" / "safety-after-fork.md"
NAMES = {step.name for step in STEPS}


def steps_in(*folders):
    """Return the steps that Python code of these folders gives to `CoreFailed`."""
    sources = [path.read_text() for folder in folders for path in folder.glob("*.py")]
    return {step for text in sources for step in re.findall(r'CoreFailed\(\s*"([\w-]+)"', text)}


def test_every_step_of_the_backends_has_one_row():
    """Also those that Python code raises, and those for which it has a remedy."""
    ours = steps_in(LINUX)

    assert {"wait", "find-core", "kernel-dump"} <= ours
    assert (ours | snapshot._REMEDIES.keys()) - NAMES == set()
    assert len(NAMES) == len(STEPS)
    assert all(step.where and step.failed for step in STEPS)


def test_no_step_of_the_native_part_is_left_over():
    """Each one is named in the code, or begins there."""
    rows = set(re.findall(r"STEP\((STEP_\w+)", (NATIVE / "steps.h").read_text()))
    used = {word for path in NATIVE.glob("*.c") for word in re.findall(r"\w+", path.read_text())}

    assert len(rows) > 20
    assert rows - used == set()


def test_the_frameworks_own_steps_are_in_the_docstring_of_the_error():
    """They mean the same with every backend."""
    framework = steps_in(FRAMEWORK, FRAMEWORK / "_pipeline")

    assert {"snapshot", "core"} <= framework
    assert [step for step in framework if f"``{step}``" not in CoreFailed.__doc__] == []


def test_the_page_on_safety_has_the_rows():
    """It names the table, and has no copy of it."""
    text = PAGE.read_text()

    assert "{rows} gencore_backends.linux.steps.STEPS" in text
    assert "| `await-release` |" not in text

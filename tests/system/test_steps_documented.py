"""Each step at which a core can fail is documented."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINUX = ROOT / "backends" / "gencore_backends" / "linux"
PAGE = ROOT / "docs" / "explanation" / "safety-after-fork.md"
NATIVE_STEP = re.compile(r'\[STEP_\w+\] = "([a-z-]+)"')
PYTHON_STEP = re.compile(r'CoreFailed\(\s*"([a-z-]+)"')


def test_every_step_of_core_failed_is_on_the_page_on_safety():
    """Those of the native part, of the backends' Python and of the framework; and no others."""
    native = set(NATIVE_STEP.findall((LINUX / "native" / "module.c").read_text()))
    framework = ROOT / "framework" / "gencore"
    folders = (LINUX, framework, framework / "_pipeline")
    sources = [path for folder in folders for path in folder.glob("*.py")]
    ours = {step for path in sources for step in PYTHON_STEP.findall(path.read_text())}
    table = PAGE.read_text().partition("## Steps")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    documented = {step for row in rows for step in re.findall("`([a-z-]+)`", row)}

    assert {"clone", "reader-ended"} <= native
    assert {"wait", "find-core", "kernel-dump"} <= ours
    assert documented == native | ours

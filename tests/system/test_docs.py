"""The examples of the how-to pages do what the pages say."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gencore

DOCS = Path(__file__).parents[2] / "docs"


def example(page):
    """Run the first Python block of *page* and return its names."""
    (code, *_) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    names = {}
    exec(compile(code, page, "exec"), names)
    return names


def test_the_collector_example_counts_pages(tmp_path):
    """It observes, reads the core's bytes, and makes an artefact."""
    collector = example("how-to/write-a-collector.md")["HeapStats"]

    report = gencore.Pipeline(collectors=[collector, "raw"], directory=tmp_path).run()

    assert report.result == "complete"
    assert json.loads(report.path_of("heap-stats").read_text())["zero_pages"] > 0


def test_the_backend_example_answers_with_reasons():
    """It offers full cores only, and says so with a remedy."""
    backend = example("how-to/write-a-backend.md")["GdbGcore"]()

    verdict = backend.probe(gencore.DumpRequest(content="private"))

    assert verdict.reasons[0].remedy


@pytest.mark.parametrize(
    ("page", "module"),
    [
        ("how-to/write-a-collector.md", "gencore_heap_stats"),
        ("how-to/write-a-backend.md", "gencore_gdb"),
    ],
)
def test_the_examples_pass_the_suites_that_their_pages_show(tmp_path, tool, page, module):
    """Both blocks are written to files, as a reader does."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    (suite,) = (block for block in blocks if "gencore.testing" in block)
    (tmp_path / f"{module}.py").write_text(blocks[0])
    (tmp_path / f"test_{module}.py").write_text(suite)
    assert tool("gcore")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stdout

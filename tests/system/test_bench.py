"""What `make bench` measures runs to its end, in small, and what it saves can be read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MIB = 1 << 20
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="Linux"),
]

SEES_BOTH = """
import sys
from pathlib import Path
from loss import proportional_share
from measured_service import Service, beside

seen = []
with Service(Path(sys.argv[1]), mib=64, load="idle") as service:
    service.ask("loaded")
    with beside(lambda: seen.append((service.recorders(), proportional_share(service.clones())))):
        service.ask("loaded")
sys.exit(not any(recorders and memory for recorders, memory in seen))
"""


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Return a function that runs a script, and returns the figures that it has saved."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def run(name):
        output = tmp_path / "output"
        options = ["--quick", "--size", "16", "--rounds", "1", "--output", output]
        command = [sys.executable, BENCHMARKS / f"{name}.py", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (output / f"{name}.md").read_text().startswith("# ")
        figures = json.loads((output / f"{name}.json").read_text())
        assert figures["circumstances"]["command"]
        return figures

    return run


def test_each_row_has_as_many_figures_as_rounds_and_a_verdict(bench):
    """Only the limit may be missing: of some rows the machine has none."""
    figures = bench("bench")

    assert {row["what"].partition(",")[0] for row in figures["rows"]} >= {"pause", "bundle"}
    for row in figures["rows"]:
        assert len(row["ours"]) == 1, row
        assert len(row["limit"]) <= 1, row
        assert row["allowed"] > 0
        assert isinstance(row["met"], bool)
    assert all(rate["gigabytes_per_second"] > 0 for rate in figures["rates"])


def test_each_cost_is_fitted_along_each_axis(bench):
    """A bundle grows with its heap, of which half is random."""
    figures = bench("growth")

    names = [axis["name"] for axis in figures["axes"]]
    assert names == ["heap MiB", "threads", "mappings", "libraries", "reserved GiB"]
    assert len(figures["fits"]) == 3 * len(names)
    heap = figures["axes"][0]["points"]
    assert heap[0]["n"] == 0
    assert heap[-1]["size"] - heap[0]["size"] > heap[-1]["n"] * MIB * 0.45


def test_each_service_loses_something_that_is_said(bench):
    """Its work goes on during the dump, and a recorder takes as much memory as any Python."""
    losses = bench("loss")["losses"]

    assert {one["load"] for one in losses} == {"idle", "reading", "writing"}
    assert all(share > 0 for one in losses for share in one["throughput"])
    assert all(one["memory"] > 8 * MIB for one in losses)


def test_a_recorder_is_seen_beside_the_clone(tmp_path):
    """As long as the clone has memory, it is its parent: else neither is measured rightly."""
    program = [sys.executable, "-c", SEES_BOTH, tmp_path]
    done = subprocess.run(program, env=os.environ | {"PYTHONPATH": str(BENCHMARKS)}, check=False)
    assert done.returncode == 0


def test_many_dumps_and_a_large_one_are_compared_with_single_ones(bench):
    """Each figure has what it is compared with; the last dumps leave no descriptor."""
    rows = {row["what"].partition(",")[0]: row for row in bench("extremes")["rows"]}

    assert all(row["ours"] > 0 and row["theirs"] > 0 for row in rows.values())
    descriptors = rows["descriptors of the process after 64 dumps"]
    assert descriptors["ours"] == descriptors["theirs"]

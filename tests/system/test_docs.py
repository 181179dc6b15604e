"""The examples of the how-to pages do what the pages say."""

import re
from pathlib import Path

import gencore

DOCS = Path(__file__).parents[2] / "docs"


def example(page):
    """Run the first Python block of *page* and return its names."""
    (code, *_) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    names = {}
    exec(compile(code, page, "exec"), names)
    return names


def test_the_collector_example_saves_its_artefact(tmp_path):
    """The load average lies beside the core."""
    collector = example("how-to/write-a-collector.md")["LoadCollector"]

    report = gencore.Pipeline(collectors=[collector, "raw"], directory=tmp_path).run()

    assert report.result == "complete"
    assert report.path_of("load").read_text().count(".") >= 3


def test_the_backend_example_answers_and_streams(tmp_path):
    """Its verdict has a remedy, and its core becomes an artefact."""
    backend = example("how-to/write-a-backend.md")["SidecarBackend"]()
    pipeline = gencore.Pipeline(collectors=["raw"], directory=tmp_path)

    assert backend.probe(gencore.DumpRequest()).reasons[0].remedy == "add it to the pod"
    backend.probe = lambda _: gencore.Verdict.yes()
    pipeline._backends = [backend]
    assert pipeline.run().path_of("raw").read_bytes() == b"the core"

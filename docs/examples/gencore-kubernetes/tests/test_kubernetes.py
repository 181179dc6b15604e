"""The collector keeps gencore's rules, and saves what a pod is told."""

import functools
import json

import pytest

from gencore import Pipeline
from gencore.testing import CollectorContract, SimulatedBackend
from gencore_kubernetes import Kubernetes


class TestKubernetes(CollectorContract):
    @pytest.fixture
    def collector(self):
        return Kubernetes


def test_a_pod_is_described(tmp_path, monkeypatch):
    """By the files of a volume as Kubernetes lays it out, by variables, and by its cgroup."""
    volume = tmp_path / "podinfo"
    (volume / "..2026_01_01").mkdir(parents=True)
    (volume / "..2026_01_01" / "labels").write_text('app="web"\n')
    (volume / "..data").symlink_to("..2026_01_01")
    (volume / "labels").symlink_to("..data/labels")
    cgroup = tmp_path / "cgroup"
    cgroup.mkdir()
    (cgroup / "memory.events").write_text("oom_kill 2\n")
    monkeypatch.setenv("POD_IP", "10.0.0.7")
    collector = functools.partial(Kubernetes, podinfo=str(volume), cgroup=str(cgroup))

    report = Pipeline(backend=SimulatedBackend(), collectors=[collector], directory=tmp_path).run()

    found = json.loads(report.path_of("kubernetes").read_text())
    assert found["environment"]["POD_IP"] == "10.0.0.7"
    assert found["podinfo"] == {"labels": 'app="web"\n'}
    assert found["cgroup"]["memory.events"] == "oom_kill 2\n"
    assert found["cgroup"]["cpu.stat"] is None

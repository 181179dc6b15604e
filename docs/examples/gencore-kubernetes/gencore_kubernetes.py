"""Saves what Kubernetes passes to a pod about itself, and the counters of its cgroup."""

import json
import os
from pathlib import Path

from gencore import Collector, DumpInProgress

VARIABLES = ("POD_IP", "HOST_IP", "POD_SERVICE_ACCOUNT")  # gencore's manifest has the pod's name
FIGURES = ("cpu.stat", "cpu.pressure", "io.pressure", "memory.events", "memory.pressure")
LIMIT = 1 << 20  # characters of one file; a pod's annotations have 256 KiB at most


class Kubernetes(Collector):
    """Writes kubernetes.json: the downward API's variables and files, and the cgroup's figures."""

    name = "kubernetes"
    api_version = (1, 1)

    def __init__(self, *, podinfo: str = "/etc/podinfo", cgroup: str = "/sys/fs/cgroup") -> None:
        self._podinfo, self._cgroup = Path(podinfo), Path(cgroup)

    def finish(self, dump: DumpInProgress) -> None:
        """Read it all now, after the pause."""
        found = {
            "environment": {name: os.environ.get(name) for name in VARIABLES},
            "podinfo": {path.name: read(path) for path in sorted(self._podinfo.glob("[!.]*"))},
            "cgroup": {name: read(self._cgroup / name) for name in FIGURES},
        }
        with dump.create("kubernetes.json") as file:
            file.write(json.dumps(found, indent=1).encode())


def read(path: Path) -> str | None:
    """Return the file's text, or None if this kernel or pod does not have it."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(LIMIT)
    except OSError:
        return None

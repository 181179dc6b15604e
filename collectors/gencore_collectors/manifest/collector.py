"""Puts the sections of the manifest together and writes them as JSON."""

import secrets
from collections.abc import Iterable
from typing import Any, Final

from gencore import Artifact, Collector, CoreSink, DumpInProgress
from gencore.observed import ObservedProcess
from gencore_collectors.manifest import (
    container,
    contents,
    core,
    deployment,
    environment,
    host,
    libraries,
    memory,
    privacy,
    process,
    runtime,
    status,
    threads,
    tool,
)
from gencore_collectors.manifest.encoding import encode

__all__ = ["ManifestCollector"]

SCHEMA: Final = "https://gencore.invalid/schema/manifest-1.json"


class ManifestCollector(Collector):
    """Writes ``manifest.json``."""

    name = "manifest"
    api_version = (1, 0)

    def __init__(self) -> None:
        self._core: core.CoreReader | None = None
        self._mapped: tuple[memory.MappedRange, ...] = ()

    def observe(self, process: ObservedProcess) -> None:
        """Note the Python stacks."""
        self._python_threads = process.python_threads()

    def begin(self, dump: DumpInProgress) -> CoreSink | None:  # noqa: ARG002
        """Ask for the core to be read, so that its hash is known.

        What is mapped where is read now: until the core is whole, mappings come and go.
        """
        self._mapped = memory.mapped_ranges()
        self._core = core.CoreReader()
        return self._core

    def finish(self, dump: DumpInProgress) -> Iterable[Artifact]:
        """Write the manifest."""
        with dump.create("manifest.json") as file:
            file.write(encode(self._manifest(dump)))
        return [file.artifact()]

    def _manifest(self, dump: DumpInProgress) -> dict[str, Any]:
        mapped = self._mapped or memory.mapped_ranges()
        files = contents.section(dump)
        return {
            "schema": SCHEMA,
            "schema_version": "1.0",
            "bundle_id": _uuid7(dump),
            "name": dump.name,
            "created_at": status.rfc3339(dump.created_at),
            "tool": tool.section(dump),
            "trigger": status.trigger(),
            "status": status.section(dump),
            "core": core.section(dump, self._core),
            "process": process.section(dump),
            "runtime": runtime.section(),
            "threads": threads.section(dump, self._python_threads),
            "libraries": libraries.section(dump, mapped),
            "memory": memory.section(mapped),
            "files": files,
            "host": host.section(),
            "os": host.operating_system(),
            "kernel": host.kernel(),
            "container": container.section(),
            "k8s": deployment.kubernetes(),
            "service": deployment.service(),
            "deployment": deployment.deployment(),
            "environment": environment.section(),
            "annotations": dict(dump.request.annotations),
            "privacy": privacy.section(contains_memory=dump.core is not None),
            "integrity": contents.integrity(files),
        }


def _uuid7(dump: DumpInProgress) -> str:
    """Return a UUID of version 7 (RFC 9562, 5.7): milliseconds, then random bits."""
    milliseconds = int(dump.created_at.timestamp() * 1000)
    value = milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62
    text = f"{value | secrets.randbits(62):032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

"""Puts the sections of the manifest together and writes them as JSON."""

import os
from typing import Any, Final

from gencore import Collector, CoreSink, DumpInProgress
from gencore.process import ObservedProcess
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
    api_version = (1, 1)
    time_limit = None

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

    def finish(self, dump: DumpInProgress) -> None:
        """Write the manifest."""
        with dump.create("manifest.json") as file:
            file.write(encode(self._manifest(dump)))

    def _manifest(self, dump: DumpInProgress) -> dict[str, Any]:
        mapped = self._mapped or memory.mapped_ranges()
        environ = {} if dump.request.content == "triage" else os.environ
        files = contents.section(dump)
        return {
            "schema": SCHEMA,
            "schema_version": "1.1",
            "bundle_id": dump.id,
            "name": dump.name,
            "created_at": status.rfc3339(dump.created_at),
            "tool": tool.section(dump),
            "trigger": status.trigger(dump),
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
            "k8s": deployment.kubernetes(environ),
            "service": deployment.service(environ),
            "deployment": deployment.deployment(environ),
            "resource": deployment.resource(environ),
            "environment": environment.section(environ),
            "annotations": dict(dump.request.annotations),
            "privacy": privacy.section(contains_memory=dump.core is not None),
            "integrity": contents.integrity(files),
        }

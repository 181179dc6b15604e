"""Puts the sections of the manifest together and writes them as JSON."""

from typing import Any, Final

from gencore import Collector, CoreSink, DumpInProgress
from gencore.memory_map import MappedRange
from gencore.process import ObservedProcess, PythonThread
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
    reserves = ("manifest.json",)

    def __init__(self) -> None:
        self._core: core.CoreReader | None = None
        self._mapped: tuple[MappedRange, ...] = ()
        self._python_threads: tuple[PythonThread, ...] = ()
        self._sections: dict[str, Any] | None = None

    def observe(self, process: ObservedProcess) -> None:
        """Note the Python stacks."""
        self._python_threads = process.python_threads()

    def begin(self, dump: DumpInProgress) -> CoreSink | None:
        """Ask for the core to be read, so that its hash is known.

        What is mapped where is read now: until the core is whole, mappings come and go, and
        another process may have ended by then.
        """
        self._mapped = memory.mapped_ranges(dump.request.target)
        if dump.request.target.other is not None:
            self._sections = _of_process(dump)
        self._core = core.CoreReader()
        return self._core

    def finish(self, dump: DumpInProgress) -> None:
        """Write the manifest."""
        with dump.create("manifest.json") as file:
            file.write(encode(self._manifest(dump)))

    def _manifest(self, dump: DumpInProgress) -> dict[str, Any]:
        mapped = self._mapped or memory.mapped_ranges(dump.request.target)
        files = contents.section(dump)
        return {
            "schema": SCHEMA,
            "schema_version": "1.4",
            "bundle_id": dump.id,
            "name": dump.name,
            "created_at": status.rfc3339(dump.created_at),
            "tool": tool.section(dump),
            "trigger": status.trigger(dump),
            "status": status.section(dump),
            "core": core.section(dump, self._core),
            "runtime": runtime.section(dump),
            "threads": threads.section(dump, self._python_threads),
            "libraries": libraries.section(dump, mapped),
            "memory": memory.section(mapped),
            "files": files,
            "host": host.section(),
            "os": host.operating_system(),
            "kernel": host.kernel(),
            **(self._sections or _of_process(dump)),
            "annotations": dict(dump.request.annotations),
            "privacy": privacy.section(contains_memory=dump.core is not None),
            "integrity": contents.integrity(files),
        }


def _of_process(dump: DumpInProgress) -> dict[str, Any]:
    """Return the sections that are read from the live process."""
    target = dump.request.target
    variables = target.environ
    environ = {} if dump.request.content == "triage" else variables
    return {
        "process": process.section(dump),
        "container": container.section(target, variables),
        "k8s": deployment.kubernetes(environ),
        "service": deployment.service(environ),
        "deployment": deployment.deployment(environ),
        "resource": deployment.resource(environ),
        "environment": environment.section(environ, len(variables)),
    }

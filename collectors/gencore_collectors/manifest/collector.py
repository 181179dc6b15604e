"""Puts the sections of the manifest together and writes them as JSON."""

import json
import os
import secrets
from collections.abc import Iterable
from typing import Any, Final

import attrs

import gencore
from gencore import Artifact, Collector, CoreSink, DumpInProgress
from gencore.observed import ObservedProcess, PythonThread
from gencore_collectors.manifest import host, process, runtime

__all__ = ["ManifestCollector"]

SCHEMA: Final = "https://gencore.invalid/schema/manifest-1.json"
_NOTICE: Final = "This dump holds the memory of a process: passwords, keys, personal data."


class ManifestCollector(Collector):
    """Writes ``manifest.json``."""

    name = "manifest"
    api_version = (1, 0)

    def observe(self, process: ObservedProcess) -> None:
        """Note the Python stacks."""
        self._python_threads = process.python_threads()

    def begin(self, dump: DumpInProgress) -> CoreSink | None:  # noqa: ARG002
        """Ask for the core to be read, so that its hash is known."""
        return _Unread()

    def finish(self, dump: DumpInProgress) -> Iterable[Artifact]:
        """Write the manifest."""
        with dump.create("manifest.json") as file:
            text = json.dumps(self._manifest(dump), indent=1, ensure_ascii=True)
            file.write(text.encode() + b"\n")
        return [file.artifact()]

    def _manifest(self, dump: DumpInProgress) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "schema_version": "1.0",
            "bundle_id": _uuid7(dump),
            "name": dump.name,
            "created_at": dump.created_at.isoformat().replace("+00:00", "Z"),
            "tool": _tool(dump),
            "trigger": {"kind": "api"},
            "status": _status(dump),
            "core": _core(dump),
            "process": process.section(),
            "runtime": runtime.section(),
            "threads": _threads(dump, self._python_threads),
            "libraries": [_library(dump, library) for library in dump.libraries],
            "files": [_file(artifact) for artifact in dump.artifacts],
            "host": host.section(),
            "os": host.operating_system(),
            "kernel": host.kernel(),
            "annotations": dict(dump.request.annotations),
            "privacy": {"contains_memory": dump.core is not None, "notice": _NOTICE},
            "integrity": {"algorithm": "sha256"},
        }


class _Unread(CoreSink):
    def write(self, chunk: memoryview) -> None:
        """Leave the bytes alone: the framework hashes what it reads."""


def _uuid7(dump: DumpInProgress) -> str:
    """Return a UUID of version 7 (RFC 9562, 5.7): milliseconds, then random bits."""
    milliseconds = int(dump.created_at.timestamp() * 1000)
    value = milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62
    text = f"{value | secrets.randbits(62):032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _tool(dump: DumpInProgress) -> dict[str, Any]:
    request = attrs.asdict(dump.request)
    del request["annotations"]
    return {
        "name": "gencore",
        "version": gencore.__version__,
        "backend": {"name": dump.backend},
        "plugins": [dict(plugin) for plugin in dump.plugins],
        "options": request,
    }


def _status(dump: DumpInProgress) -> dict[str, Any]:
    return {
        "pause_ms": round(dump.pause.total * 1e3, 3),
        "phases": [
            {"name": name, "duration_ms": round(seconds * 1e3, 3)}
            for name, seconds in dump.pause.phases.items()
        ],
        "failed": [{"part": part.part, "reason": part.reason} for part in dump.failed],
        "skipped": [attrs.asdict(part) for part in dump.skipped],
        "warnings": list(dump.warnings),
    }


def _core(dump: DumpInProgress) -> dict[str, Any] | None:
    if dump.core is None:
        return None
    truncated = "truncated." if dump.core.incomplete is not None else ""
    return {
        "file": "core" if dump.packed else f"{dump.name}.{truncated}core",
        "format": "elf",
        "size": dump.core.size,
        "sha256": dump.core_sha256,
        "truncated": dump.core.incomplete is not None,
        "incomplete": dump.core.incomplete,
        "content": dump.request.content,
        "threads": sum(record.registers != "missing" for record in dump.threads),
        "pid_in_core": os.getpid(),
    }


def _threads(dump: DumpInProgress, known: tuple[PythonThread, ...]) -> list[dict[str, Any]]:
    """Join the kernel's threads with the interpreter's, by tid."""
    python = {thread.native_id: thread for thread in known}
    rows = [_thread(attrs.asdict(r), python.pop(r.tid, None)) for r in dump.threads]
    rest = ({"tid": t.native_id, "registers": "missing"} for t in python.values())
    return rows + [_thread(r, t) for r, t in zip(rest, python.values(), strict=True)]


def _thread(row: dict[str, Any], thread: PythonThread | None) -> dict[str, Any]:
    python = None
    if thread is not None:
        python = {
            "ident": thread.ident,
            "name": thread.name,
            "daemon": thread.daemon,
            "frames": [attrs.asdict(frame) for frame in thread.frames],
            "frames_truncated": thread.truncated,
        }
    return {"name": None, "reason": None, **row, "python": python}


def _library(dump: DumpInProgress, library: Any) -> dict[str, Any]:
    packed = dump.packed and library.status == "ok"
    return {**attrs.asdict(library), "archive_path": library.archive_path if packed else None}


def _file(artifact: Artifact) -> dict[str, Any]:
    return {
        "name": artifact.name,
        "size": artifact.size,
        "sha256": artifact.sha256,
        "collector": artifact.collector,
    }

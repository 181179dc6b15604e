"""Core dumps of a live Python process, without ptrace and without stopping it.

`create_core` and `collect_core` do the whole job in one call; `start` returns a handle as soon as
the pause is over; `Pipeline` is the same, built once and used many times. Plug-ins subclass
`Backend` and `Collector`.

The public names are loaded on first use, so that a service that may never be dumped pays almost
nothing for the import.
"""

from typing import TYPE_CHECKING, Any, Final

from gencore._runtime import interpreter_exit  # noqa: F401 - takes its place
from gencore._version import __version__

if TYPE_CHECKING:
    from gencore._pipeline.dump import Dump
    from gencore._pipeline.pipeline import Pipeline
    from gencore._recorder.calls import collect_core, create_core, start
    from gencore._settings.option_types import Range
    from gencore._settings.options import (
        BackendSpec,
        CollectorSpec,
        DestinationSpec,
        FilterSpec,
    )
    from gencore.annotations import annotate
    from gencore.arming import arm, armed_processes, disarm, is_armed
    from gencore.backend import Backend, Snapshot
    from gencore.collector import Collector, CoreSink, DumpInProgress
    from gencore.core_stream import CoreStream, FileCoreStream
    from gencore.destination import Destination, Upload
    from gencore.errors import (
        CoreFailed,
        ExitCode,
        GencoreError,
        IntegrityError,
        OutputError,
        PluginError,
        Refused,
        TargetUnavailable,
        TimedOut,
        Unsupported,
        UsageError,
    )
    from gencore.exclusion import Exclusion, exclude
    from gencore.filter import Filter
    from gencore.huge_pages import HugePages
    from gencore.libraries import Library
    from gencore.output import ArtifactWriter, Output
    from gencore.process import MappedFile, ObservedProcess, ThreadRecord
    from gencore.report import (
        Artifact,
        DumpIncomplete,
        Failed,
        Pause,
        Progress,
        Removal,
        Report,
        Skipped,
        Stage,
    )
    from gencore.request import DumpRequest
    from gencore.retention import Retention
    from gencore.triggers import Trigger
    from gencore.verdict import Reason, Verdict
    from gencore.watching import Watch, watch

__all__ = [
    "Artifact",
    "ArtifactWriter",
    "Backend",
    "BackendSpec",
    "Collector",
    "CollectorSpec",
    "CoreFailed",
    "CoreSink",
    "CoreStream",
    "Destination",
    "DestinationSpec",
    "Dump",
    "DumpInProgress",
    "DumpIncomplete",
    "DumpRequest",
    "Exclusion",
    "ExitCode",
    "Failed",
    "FileCoreStream",
    "Filter",
    "FilterSpec",
    "GencoreError",
    "HugePages",
    "IntegrityError",
    "Library",
    "MappedFile",
    "ObservedProcess",
    "Output",
    "OutputError",
    "Pause",
    "Pipeline",
    "PluginError",
    "Progress",
    "Range",
    "Reason",
    "Refused",
    "Removal",
    "Report",
    "Retention",
    "Skipped",
    "Snapshot",
    "Stage",
    "TargetUnavailable",
    "ThreadRecord",
    "TimedOut",
    "Trigger",
    "Unsupported",
    "Upload",
    "UsageError",
    "Verdict",
    "Watch",
    "__version__",
    "annotate",
    "arm",
    "armed_processes",
    "collect_core",
    "create_core",
    "disarm",
    "exclude",
    "is_armed",
    "start",
    "watch",
]

_MODULES: Final = {
    "Artifact": "report",
    "ArtifactWriter": "output",
    "Backend": "backend",
    "BackendSpec": "_settings.options",
    "Collector": "collector",
    "CollectorSpec": "_settings.options",
    "CoreFailed": "errors",
    "CoreSink": "collector",
    "CoreStream": "core_stream",
    "Destination": "destination",
    "DestinationSpec": "_settings.options",
    "Dump": "_pipeline.dump",
    "DumpInProgress": "collector",
    "DumpIncomplete": "report",
    "DumpRequest": "request",
    "Exclusion": "exclusion",
    "ExitCode": "errors",
    "Failed": "report",
    "FileCoreStream": "core_stream",
    "Filter": "filter",
    "FilterSpec": "_settings.options",
    "GencoreError": "errors",
    "HugePages": "huge_pages",
    "IntegrityError": "errors",
    "Library": "libraries",
    "MappedFile": "process",
    "ObservedProcess": "process",
    "Output": "output",
    "OutputError": "errors",
    "Pause": "report",
    "Pipeline": "_pipeline.pipeline",
    "PluginError": "errors",
    "Progress": "report",
    "Range": "_settings.option_types",
    "Reason": "verdict",
    "Refused": "errors",
    "Removal": "report",
    "Report": "report",
    "Retention": "retention",
    "Skipped": "report",
    "Snapshot": "backend",
    "Stage": "report",
    "TargetUnavailable": "errors",
    "ThreadRecord": "process",
    "TimedOut": "errors",
    "Trigger": "triggers",
    "Unsupported": "errors",
    "Upload": "destination",
    "UsageError": "errors",
    "Verdict": "verdict",
    "Watch": "watching",
    "annotate": "annotations",
    "arm": "arming",
    "armed_processes": "arming",
    "collect_core": "_recorder.calls",
    "create_core": "_recorder.calls",
    "disarm": "arming",
    "exclude": "exclusion",
    "is_armed": "arming",
    "start": "_recorder.calls",
    "watch": "watching",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'gencore' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"gencore.{_MODULES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__

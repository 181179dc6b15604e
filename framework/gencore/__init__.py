"""Core dumps of a live Python process, from inside it, without stopping it and without ptrace.

`create_core` and `collect_core` do the whole job in one call; `start` returns a handle as soon as
the process runs on; `Pipeline` is the same, built once and used many times. Plug-ins subclass
`Backend` and `Collector`.
"""

from gencore._dump import Dump
from gencore._pipeline import Pipeline, collect_core, create_core, start
from gencore._version import __version__
from gencore.backend import (
    Backend,
    CoreStream,
    DumpRequest,
    FileCoreStream,
    MappedFile,
    Reason,
    Snapshot,
    ThreadRecord,
    Verdict,
)
from gencore.collector import Collector, CoreSink, DumpInProgress
from gencore.errors import (
    CoreFailed,
    DumpIncomplete,
    GencoreError,
    IntegrityError,
    OutputError,
    PluginError,
    Refused,
    TimedOut,
    Unsupported,
    UsageError,
)
from gencore.report import Artifact, Failed, Pause, Progress, Report, Skipped

__all__ = [
    "Artifact",
    "Backend",
    "Collector",
    "CoreFailed",
    "CoreSink",
    "CoreStream",
    "Dump",
    "DumpInProgress",
    "DumpIncomplete",
    "DumpRequest",
    "Failed",
    "FileCoreStream",
    "GencoreError",
    "IntegrityError",
    "MappedFile",
    "OutputError",
    "Pause",
    "Pipeline",
    "PluginError",
    "Progress",
    "Reason",
    "Refused",
    "Report",
    "Skipped",
    "Snapshot",
    "ThreadRecord",
    "TimedOut",
    "Unsupported",
    "UsageError",
    "Verdict",
    "__version__",
    "collect_core",
    "create_core",
    "start",
]

"""One dump in one call, for a process that has prepared nothing and may be in trouble.

A pipeline is only built in this process where no recorder can be started.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Unpack

from gencore._pipeline.dump import Dump
from gencore._recorder.job import NoRecorder, plan_of
from gencore._recorder.starting import start_by_recorder
from gencore._settings.options import Options
from gencore._settings.sources import resolve_settings
from gencore.bundle.codecs import CODECS
from gencore.report import Report

__all__ = ["collect_core", "create_core", "start"]


_EXTENSIONS: Final = tuple(codec.extension for codec in CODECS)
"""What the names of bundles begin with, or are."""


def start(**options: Unpack[Options]) -> Dump:
    """Dump this process; return as soon as it runs on. Options as for `Pipeline`."""
    settings = resolve_settings(options)
    try:
        if settings.request.target.other is None:
            return start_by_recorder(plan_of(settings))
        reason = ""
    except NoRecorder as error:
        reason = str(error)
    from gencore._pipeline.pipeline import Pipeline

    return Pipeline(**options).start_here(reason)


def create_core(**options: Unpack[Options]) -> Path:
    """Dump this process and return the path of the core. Options as for `Pipeline`."""
    return _report(("raw",), options).path_of("raw")


def collect_core(**options: Unpack[Options]) -> Path:
    """Dump this process and return the path of its bundle. Options as for `Pipeline`."""
    report = _report(("manifest", "archive"), options)
    packers = (one.collector for one in report.artifacts if one.name.startswith(_EXTENSIONS))
    return report.path_of(next(packers, "archive"))


def _report(collectors: Sequence[str], options: Options) -> Report:
    given: Options = {**options, "collectors": options.get("collectors") or collectors}
    return start(**given).result()

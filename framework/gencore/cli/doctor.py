"""``gencore doctor``: would a dump work here, by which backend, and if not, what to do."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import attrs
import click

from gencore._pipeline.pipeline import Pipeline
from gencore._pipeline.selection import Selection
from gencore._plugins.catalogue import faults_of_policy
from gencore._settings.sources import resolve_settings
from gencore.cli.json_output import print_json
from gencore.cli.options import directory_option, json_option
from gencore.cli.plugins.policy import print_policy_faults
from gencore.errors import GencoreError, PluginError, UsageError
from gencore.request import DumpRequest
from gencore.verdict import Reason, Verdict

__all__ = ["doctor"]


@click.command()
@directory_option("Where dumps would go.")
@json_option
def doctor(*, directory: str | None, as_json: bool) -> NoReturn:
    """Say whether a dump would work here, and if not, what to do.

    Exit code 0: it would. 5: no backend works, or not the one of the settings. 4: the directory
    will not do. 2 or 9: the settings are wrong.

    \b
    Examples:
      gencore doctor
      gencore doctor -o /var/dumps
    """
    where, refusal = _look_at_settings(directory)
    verdicts, faults = _verdicts(), faults_of_policy()
    surroundings = {**_surroundings(where), "refused": refusal and str(refusal)}
    if as_json:
        backends = {n: {"ok": v.ok, **attrs.asdict(v)} for n, v in verdicts.items()}
        report = {
            "ok": not refusal,
            "backends": backends,
            "policy_faults": [attrs.asdict(fault) for fault in faults],
            "surroundings": surroundings,
        }
        print_json(report)
    else:
        _print(verdicts, faults, surroundings)
    raise SystemExit(refusal.exit_code if refusal else 0)


def _look_at_settings(directory: str | None) -> tuple[Path, GencoreError | None]:
    """Return where dumps would go, and why they would not."""
    where = Path(directory or ".")
    try:
        pipeline = Pipeline(directory=directory)
        where = pipeline.directory
        pipeline.check()
    except GencoreError as error:
        return where, error
    return where, None


def _verdicts() -> dict[str, Verdict]:
    """Return the answers of the backends that are chosen from by default, and of the named one."""
    return {**_answers(Selection(None, ())), **_answer_of_named()}


def _answers(selection: Selection) -> dict[str, Verdict]:
    asked = {backend.name: verdict for backend, verdict in selection.ask_backends(DumpRequest())}
    return {**asked, **selection.passed_over}


def _answer_of_named() -> dict[str, Verdict]:
    """Return the answer of the backend of the settings, if they name one and are right."""
    try:
        backend = resolve_settings({}).backend
        return {} if backend is None else _answers(Selection(backend, ()))
    except PluginError as error:
        return {error.name: Verdict.no(Reason(error.reason, error.remedy))}
    except UsageError:
        return {}


def _surroundings(directory: Path) -> dict[str, Any]:
    status = _read("/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return {
        "configuration": os.environ.get("GENCORE_CONFIG"),
        "directory": str(directory.absolute()),
        "free_bytes": shutil.disk_usage(directory).free if directory.is_dir() else None,
        "writable": os.access(directory, os.W_OK | os.X_OK),
        "ptrace_scope": _read("/proc/sys/kernel/yama/ptrace_scope") or None,
        "effective_capabilities": fields.get("CapEff"),
        "no_new_privs": fields.get("NoNewPrivs"),
        "seccomp": fields.get("Seccomp"),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _print(
    verdicts: dict[str, Verdict], faults: Iterable[Reason], surroundings: dict[str, Any]
) -> None:
    for name, verdict in verdicts.items():
        click.echo(f"{name}: {'yes' if verdict.ok else 'no'}")
        for reason in verdict.reasons:
            click.echo(f"  because {reason.text}")
            if reason.remedy:
                click.echo(f"    remedy: {reason.remedy}")
        for key, value in verdict.facts.items():
            click.echo(f"  {key}: {value}")
        if verdict.core_size is not None:
            click.echo(f"  a core of this process: at most {verdict.core_size / 2**20:,.0f} MiB")
    print_policy_faults(faults)
    click.echo("surroundings:")
    for key, value in surroundings.items():
        click.echo(f"  {key}: {value}")

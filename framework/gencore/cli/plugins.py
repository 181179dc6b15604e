"""``gencore plugins``: every installed backend and collector, and what became of loading it."""

import json

import click

from gencore._pipeline.selection import verdict_of, why_not_default
from gencore._plugins import loader
from gencore.cli.options import json_option

__all__ = ["plugins"]


@click.command()
@json_option
def plugins(*, as_json: bool) -> None:
    """List backends and collectors: distribution, version, status, reason."""
    rows = [row for family in ("backend", "collector") for row in _rows(family)]
    if as_json:
        click.echo(json.dumps({"plugins": rows}, indent=1))
        return
    origins = [f"{row['distribution']} {row['version']}" for row in rows]
    widest = max(map(len, origins), default=0)
    longest = max((len(str(row["name"])) for row in rows), default=0)
    for row, origin in zip(rows, origins, strict=True):
        columns = (f"{row['family']:9}", f"{row['name']:{longest}}", f"{origin:{widest}}")
        click.echo("  ".join((*columns, str(row["status"]))))
        if row["reason"]:
            click.echo(f"           {row['reason']}")
        if row["remedy"]:
            click.echo(f"           remedy: {row['remedy']}")


def _rows(family: str) -> list[dict[str, object]]:
    loaded = loader.load_all("backend" if family == "backend" else "collector")
    return [_row(plugin) for plugin in loaded]


def _row(plugin: loader.LoadedPlugin) -> dict[str, object]:
    row = {**plugin.as_dict(), "remedy": plugin.remedy}
    if plugin.status == "ok" and plugin.entry.family == "backend":
        verdict = verdict_of(plugin)
        unnamed = why_not_default(plugin.entry)
        if not verdict.ok:
            row["status"] = "unsupported"
            row["reason"] = "; ".join(reason.text for reason in verdict.reasons)
            row["remedy"] = "; ".join(r.remedy for r in verdict.reasons if r.remedy) or None
        elif unnamed is not None:
            row.update(status="unnamed", reason=unnamed.text, remedy=unnamed.remedy)
    return row

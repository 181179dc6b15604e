"""Draw what bench.py, growth.py and loss.py have saved, each as an SVG beside its JSON.

    python tests/benchmarks/plots.py [DIRECTORY]

The same figures give the same bytes. Needs matplotlib, which `make bench` installs.
"""

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MET, MISSED, PLAIN = "#2a7f62", "#c0392b", "#34618c"
COSTS = {
    "pause": ("pause, ms", 1e3),
    "whole": ("whole dump, s", 1),
    "size": ("bundle, MiB", 2**-20),
}


def draw_bench(figures: dict[str, Any]) -> Figure:
    """Return a bar for each row: its part of what the target allows."""
    rows = figures["rows"][::-1]
    parts = [statistics.median(row["ours"]) / row["allowed"] for row in rows]
    names = [f"{row['what']} / {row['against']}".rstrip("/ ") for row in rows]
    figure = Figure(figsize=(9, 0.4 * len(rows) + 1), layout="constrained")
    plot = figure.subplots()
    plot.barh(names, parts, color=[MET if row["met"] else MISSED for row in rows])
    plot.axvline(1, color="black", linewidth=1)
    plot.set_xlabel("of what the target allows; above 1 it is missed")
    plot.set_xlim(0, min(max([1.1, *parts]), 4))
    for place, part in enumerate(parts):
        plot.annotate(f"{part:.2f}", (min(part, 3.7), place), va="center")
    return figure


def draw_growth(figures: dict[str, Any]) -> Figure:
    """Return a row of plots for each axis: the points of each cost, and the fitted curve."""
    axes = figures["axes"]
    figure = Figure(figsize=(10, 2.6 * len(axes)), layout="constrained")
    fits = {(one["axis"], one["cost"]): one for one in figures["fits"]}
    for axis, plots in zip(axes, figure.subplots(len(axes), len(COSTS)), strict=True):
        for cost, plot in zip(COSTS, plots, strict=True):
            draw_cost(plot, axis, cost, fits[axis["name"], cost])
    return figure


def draw_cost(plot: Axes, axis: dict[str, Any], cost: str, fit: dict[str, Any]) -> None:
    """Draw one of them."""
    label, scale = COSTS[cost]
    points = [point["n"] for point in axis["points"]]
    costs = [point[cost] * scale for point in axis["points"]]
    plot.plot(points, costs, "o", color=PLAIN)
    curve = [points[-1] * step / 100 for step in range(1, 101)]
    plot.plot(curve, [value_of(fit, n) * scale for n in curve], color=PLAIN, linewidth=1)
    plot.set(xlabel=axis["name"], ylabel=label)
    plot.set_ylim(0, 1.1 * max(costs))
    plot.set_title(fit["verdict"].strip("*"), fontsize="small")


def value_of(fit: dict[str, Any], n: float) -> float:
    """Return what the fit says of *n*."""
    grown = fit["factor"] * n ** fit["exponent"] if fit["exponent"] is not None else 0
    return fit["constant"] + grown


def draw_loss(figures: dict[str, Any]) -> Figure:
    """Return bars for each service: throughput, longest gap and memory."""
    losses = figures["losses"]
    names = [f"{one['load']}, {one['priority']}" for one in losses]
    shown: dict[str, Callable[[dict[str, Any]], float]] = {
        "throughput lost, %": lambda one: 100 * (1 - statistics.median(one["throughput"])),
        "longest gap, ms": lambda one: 1e3 * statistics.median(one["gap"]),
        "more memory, MiB": lambda one: one["memory"] / 2**20,
    }
    figure = Figure(figsize=(10, 3), layout="constrained")
    for (label, value), plot in zip(shown.items(), figure.subplots(1, len(shown)), strict=True):
        plot.bar(names, list(map(value, losses)), color=PLAIN)
        plot.tick_params("x", rotation=60)
        plot.set_ylabel(label)
    return figure


DRAWN = {"bench": draw_bench, "growth": draw_growth, "loss": draw_loss}


def main() -> None:
    """Draw each that is there."""
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "build/bench")
    mpl.rcParams["svg.hashsalt"] = "gencore"  # else the identifiers in it are random
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text
    for name, draw in DRAWN.items():
        saved = directory / f"{name}.json"
        if saved.exists():
            figure = draw(json.loads(saved.read_text()))
            figure.savefig(saved.with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()

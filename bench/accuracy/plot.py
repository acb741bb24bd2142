"""Accuracy against MACs and against time, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgenet.bench.plotting import agg_figure, save

from .study import SEPARABLE, STANDARD

COLORS = {SEPARABLE: "#0b6e4f", STANDARD: "#c8553d"}
NAMES = {SEPARABLE: "separable", STANDARD: "standard"}
MARKERS = {"float32": "o", "int8": "s"}
PANELS = (("macs", 1e-6, "million MACs a picture"), ("ms", 1.0, "ms a picture"))


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a PNG: a point for each row with its standard deviation, a line through the widths of one network.

    float32 is a filled circle, int8 an open square. Raises InputError when matplotlib is missing.
    """
    from matplotlib.ticker import LogLocator, ScalarFormatter

    figure, panels = agg_figure(1, 2, (10, 4.2))
    for panel, (key, unit, label) in zip(panels, PANELS, strict=True):
        for network in COLORS:
            for precision, marker in MARKERS.items():
                members = [row for row in rows if (row["network"], row["precision"]) == (network, precision)]
                members.sort(key=lambda row: row[key])
                if not members:
                    continue
                panel.errorbar(
                    [row[key] * unit for row in members],
                    [100 * row["accuracy_mean"] for row in members],
                    [100 * row["accuracy_spread"] for row in members],
                    color=COLORS[network],
                    marker=marker,
                    markerfacecolor=COLORS[network] if precision == "float32" else "white",
                    linestyle="-" if precision == "float32" else "--",
                    linewidth=1,
                    capsize=3,
                    label=f"{NAMES[network]}, {precision}",
                )
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.xaxis.set_minor_locator(LogLocator(subs=()))
        panel.margins(x=0.15, y=0.15)
        panel.set_xlabel(label)
    panels[0].set_ylabel(f"accuracy on {rows[0]['dataset']}, %")
    panels[1].legend(frameon=False, fontsize="small", loc="best")
    save(figure, path)

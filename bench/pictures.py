"""Pictures of the studies, drawn by matplotlib: saving measured against predicted, roofline, accuracy against cost.

Each function returns a matplotlib Figure; colours are of a palette that colour-blind readers can tell apart.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .separable import WINOGRAD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
COLOURS = {"float32": BLUE, "int8": ORANGE}
PARTS = {"standard": (BLUE, "s"), "depthwise": (ORANGE, "o"), "pointwise": (GREEN, "^"), "reduction": (GREY, "v")}
"""Colour and marker of a convolution by its name in a row."""
_WIDTH = 7.0
_PANEL_WIDTH, _PANEL_HEIGHT = 2.9, 3.6
"""Inches of one of two panels of the roofline, about; the bandwidths' labels lie along their lines."""


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), dpi=160, layout="constrained")


def saving(rows: Sequence[dict[str, Any]]) -> Figure:
    """Measured share of the standard convolution's time against the law, a panel for each precision, logarithmic."""
    figure = _figure(4.4)
    precisions = [name for name in COLOURS if any(row["precision"] == name for row in rows)]
    values = [row[key] for row in rows for key in ("law", "measured", WINOGRAD) if row[key] is not None]
    low, high = min(values) * 0.8, max(values) * 1.25
    size = 40 if len(rows) <= 40 else 9 if len(rows) <= 600 else 5
    for column, precision in enumerate(precisions):
        axes = figure.add_subplot(1, len(precisions), column + 1)
        chosen = [row for row in rows if row["precision"] == precision]
        axes.fill_between(
            [low, high], [low / 1.25, high / 1.25], [low * 1.25, high * 1.25], color="black", alpha=0.1, linewidth=0,
            label="within a factor of 1.25",
        )  # fmt: skip
        axes.plot([low, high], [low, high], color="black", linewidth=1, label="the law: 1/D2 + 1/F²")
        fast = [row for row in chosen if row[WINOGRAD] is not None]
        if fast:
            x, y = ([row[key] for row in fast] for key in ("law", WINOGRAD))
            axes.scatter(x, y, s=size * 1.5, marker="x", color=GREY, linewidths=0.8, label="standard side: Winograd")
        x, y = ([row[key] for row in chosen] for key in ("law", "measured"))
        label = "standard side: direct" if column == 0 else None
        axes.scatter(x, y, s=size, color=COLOURS[precision], alpha=0.6, linewidths=0, label=label, zorder=3)
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
        _plain_ticks(axes)
        axes.tick_params(labelsize=7)
        axes.set_title(precision, fontsize=9)
        axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
        if column == 0:
            axes.set_ylabel("measured share of the time", fontsize=8)
            axes.legend(fontsize=7, loc="lower right")
    figure.supxlabel("predicted share of the work: 1/D2 + 1/F²", fontsize=8)
    figure.suptitle("Depthwise-separable instead of standard convolution, a point for each layer", fontsize=10)
    return figure


def _plain_ticks(axes: Any) -> None:
    """Ticks such as 0.05 in the place of powers of ten."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    ticks = [0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def heat_map(rows: Sequence[dict[str, Any]]) -> Figure:
    """Median of measured / law by image height and D2, a panel for each precision."""
    import numpy as np

    precisions = [name for name in COLOURS if any(row["precision"] == name for row in rows)]
    heights = sorted({row["layer"]["height"] for row in rows})
    filters = sorted({row["layer"]["filters"] for row in rows})
    figure = _figure(1.3 + 0.42 * len(heights) + 0.6)
    for column, precision in enumerate(precisions):
        axes = figure.add_subplot(1, len(precisions), column + 1)
        grid = np.full((len(heights), len(filters)), np.nan)
        for i, height in enumerate(heights):
            for j, count in enumerate(filters):
                found = [
                    row["measured"] / row["law"] for row in rows
                    if (row["precision"], row["layer"]["height"], row["layer"]["filters"]) == (precision, height, count)
                ]  # fmt: skip
                if found:
                    grid[i, j] = statistics.median(found)
                    colour = "white" if abs(np.log2(grid[i, j])) > 0.9 else "black"
                    axes.text(j, i, f"{grid[i, j]:.2f}", ha="center", va="center", fontsize=7, color=colour)
        axes.imshow(np.log2(grid), cmap="PuOr_r", vmin=-1.5, vmax=1.5, aspect="auto")
        axes.set_xticks(range(len(filters)), [str(count) for count in filters], fontsize=7)
        axes.set_yticks(range(len(heights)), [str(height) for height in heights], fontsize=7)
        axes.set_xlabel("D2, output channels", fontsize=8)
        axes.set_title(precision, fontsize=9)
        if column == 0:
            axes.set_ylabel("image height", fontsize=8)
    figure.suptitle("measured / predicted share of the time (1: as the law says; below: more is saved)", fontsize=9)
    return figure


def roofline(rows: Sequence[dict[str, Any]], limits: dict[str, dict[str, Any]]) -> Figure:
    """GFLOP/s of every convolution against its arithmetic intensity, under the machine's limits."""
    import numpy as np
    from matplotlib.ticker import FuncFormatter, NullFormatter

    threads = min(row["threads"] for row in rows)
    machine = limits[str(threads)]
    precisions = [name for name in COLOURS if any(row["precision"] == name for row in rows)]
    figure = _figure(4.2)
    for column, precision in enumerate(precisions):
        axes = figure.add_subplot(1, len(precisions), column + 1)
        points = roofline_points(rows, precision, threads)
        small = len(points) > 120
        for part, (colour, marker) in PARTS.items():
            chosen = [point for point in points if point["part"] == part]
            if chosen:
                x, y = ([point[key] for point in chosen] for key in ("intensity", "gflops"))
                axes.scatter(x, y, s=6 if small else 24, marker=marker, color=colour, alpha=0.6, linewidths=0,
                             label=part, zorder=3)  # fmt: skip
        int8_peak = max(machine["int8_gops"], machine.get("matrix_gops", 0.0))
        peak = machine["float32_gflops"] if precision == "float32" else int8_peak
        left = min([point["intensity"] for point in points] + [0.5]) * 0.7
        right = max(point["intensity"] for point in points) * 1.5
        bottom = min(point["gflops"] for point in points) * 0.6
        across, up = np.log10(right / left), np.log10(2 * peak / bottom)
        slope = np.degrees(np.arctan2(_PANEL_HEIGHT / up, _PANEL_WIDTH / across))
        axes.hlines(peak, left, right, color="black", linewidth=1.2)
        axes.text(right, peak * 1.05, f"peak {peak:.0f}", ha="right", va="bottom", fontsize=7)
        for level, speed in machine["copy_bandwidth"].items():
            start, knee = max(left, bottom / speed), min(peak / speed, right)
            axes.plot([start, knee], [start * speed, knee * speed], color=GREY, linewidth=0.8)
            axes.text(
                start * 1.15, start * speed * 1.3, f"{level} {speed:.0f} GB/s", fontsize=6.5, color=GREY,
                rotation=slope, rotation_mode="anchor",
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, peak * 2))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_title(f"{precision}, {threads} thread{'s' if threads > 1 else ''}", fontsize=9)
        axes.set_xlabel("FLOPs for each byte read or written", fontsize=8)
        axes.tick_params(labelsize=7)
        if column == 0:
            axes.set_ylabel("GFLOP/s (int8: GOP/s)", fontsize=8)
        axes.legend(fontsize=7, loc="lower right")
        axes.grid(True, which="major", color="#e5e5e5", linewidth=0.5)
    return figure


def roofline_points(rows: Sequence[dict[str, Any]], precision: str, threads: int) -> list[dict[str, Any]]:
    """Intensity, GFLOP/s and share of its limit of each convolution in a precision, on a number of threads."""
    return [
        {
            "layer": row["name"],
            "part": name,
            "precision": precision,
            "intensity": node["flops"] / node["bytes"],
            "gflops": node["flops"] / node["ms"] / 1e6,
            "share": node["share"],
        }
        for row in rows
        if row["precision"] == precision and row["threads"] == threads
        for side, found in row["sides"].items()
        if side != WINOGRAD
        for name, node in found["nodes"].items()
    ]


def accuracy(rows: Sequence[dict[str, Any]]) -> Figure:
    """Accuracy (mean, spread as bars) against MACs and against ms.

    Rows have network, precision, accuracy_mean, accuracy_spread, macs and ms; accuracies are shares of 1.
    """
    figure = _figure(3.8)
    networks = list(dict.fromkeys(row["network"] for row in rows))
    markers = dict(zip(networks, "osv^DPX*" * (1 + len(networks) // 8), strict=False))
    for column, (key, label) in enumerate((("macs", "MACs"), ("ms", "ms"))):
        axes = figure.add_subplot(1, 2, column + 1)
        for row in rows:
            spread = row["accuracy_spread"] * 100
            axes.errorbar(row[key], row["accuracy_mean"] * 100, yerr=spread, color=COLOURS[row["precision"]],
                          marker=markers[row["network"]], markersize=6, capsize=3, linewidth=1,
                          label=f"{row['network']}, {row['precision']}")  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlabel(label, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(True, color="#e5e5e5", linewidth=0.5)
        if column == 0:
            axes.set_ylabel("accuracy in %", fontsize=8)
            axes.legend(fontsize=7, loc="lower right")
    return figure


def twins(figures: dict[str, Any]) -> Figure:
    """Latency of the standard and the separable network, with the share that the law predicts."""
    rows, threads = figures["rows"], figures["machine"]["threads"]
    figure = _figure(0.9 + 0.42 * len(rows))
    axes = figure.add_subplot()
    names = [f"{row['algorithm']}, {row['precision']}" for row in rows]
    places = list(range(len(rows)))[::-1]
    bars = axes.barh(places, [row["median_ms"] for row in rows], color=[COLOURS[row["precision"]] for row in rows])
    for bar, row in zip(bars, rows, strict=True):
        text = f" {row['median_ms']:.1f} ms" + (f"   {1 / row['share']:.1f}x faster" if row["share"] < 1 else "")
        axes.text(bar.get_width(), bar.get_y() + bar.get_height() / 2, text, va="center", fontsize=8)
    axes.set_yticks(places, names, fontsize=8)
    axes.set_xlim(0, max(row["median_ms"] for row in rows) * 1.3)
    axes.set_xlabel(f"ms for one 224x224 picture, {threads} thread{'s' if threads > 1 else ''}", fontsize=8)
    axes.set_title(f"MobileNetV1: the separable network needs 1/{1 / figures['law']:.1f} of the FLOPs", fontsize=10)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure

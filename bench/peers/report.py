"""Ratios, tables and JSON of a comparison."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from edgenet.bench.timing import describe
from edgenet.commands.console import table

from .comparison import AGREES

HEADERS = (
    "peer",
    "variant",
    "median ms",
    "min",
    "p90",
    "edgenet / it",
    "cosine",
    "max error",
    "cold start ms",
    "RSS MB",
    "file MB",
)

RATIOS = ("ratio", "paired_ratio", "least_ratio")
"""Kinds of ratios, see `ratios`."""

Row = dict[str, Any]


def usable(row: Row) -> bool:
    """Whether a row has figures and, in float32, PyTorch's output."""
    return "median_ms" in row and (row["precision"] != "float32" or row["cosine"] >= AGREES)


def groups(rows: Sequence[Row]) -> dict[tuple[str, str, int], list[Row]]:
    """Rows by network, precision and threads, in order of appearance."""
    found: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row["network"], row["precision"], row["threads"]), []).append(row)
    return found


def ratios(rows: Sequence[Row]) -> list[Row]:
    """For each network, precision and thread count: edgenet's median, the best peer's, and their ratio.

    Two more tell of machines that are not idle. `paired_ratio` is the median of the rounds' ratios: the sides of a
    round are measured within seconds of each other, so that a host's neighbours, who come and go in minutes, change it
    less than the medians. `least_ratio` is that of the least times, the peers' least of all: what neighbours who come
    and go in milliseconds leave of an idle machine.
    """
    cells = []
    for (network, precision, threads), members in groups(rows).items():
        own = next((row for row in members if row["peer"] == "edgenet" and usable(row)), None)
        others = [row for row in members if row["peer"] != "edgenet" and usable(row)]
        if own is None or not others:
            continue
        best = min(others, key=lambda row: row["median_ms"])
        cells.append(
            {
                "network": network,
                "precision": precision,
                "threads": threads,
                "edgenet_ms": own["median_ms"],
                "best_peer": best["peer"],
                "best_variant": best["variant"],
                "best_ms": best["median_ms"],
                "ratio": own["median_ms"] / best["median_ms"],
                "paired_ratio": _paired_ratio(own["round_medians_ms"], best["round_medians_ms"]),
                "least_ratio": own["minimum_ms"] / min(row["minimum_ms"] for row in others),
                "edgenet_cosine": own["cosine"],
                "best_cosine": best["cosine"],
            }
        )
    return cells


def gains(rows: Sequence[Row]) -> list[Row]:
    """How many times as fast as with the fewest threads edgenet is with more.

    `times` is the median of the rounds' ratios, `least_times` the ratio of the least times (see `ratios`).
    """
    found = []
    own = [row for row in rows if row["peer"] == "edgenet" and usable(row)]
    for row in own:
        alike = [each for each in own if all(each[key] == row[key] for key in ("network", "variant"))]
        fewest = min(alike, key=lambda each: each["threads"])
        if fewest is not row:
            found.append(
                {
                    **{key: row[key] for key in ("network", "precision", "threads")},
                    "than_threads": fewest["threads"],
                    "times": _paired_ratio(fewest["round_medians_ms"], row["round_medians_ms"]),
                    "least_times": fewest["minimum_ms"] / row["minimum_ms"],
                }
            )
    return found


def _paired_ratio(own: Sequence[float], other: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(own, other, strict=True))


def geometric_means(cells: Sequence[Row]) -> list[Row]:
    """The geometric mean of each kind of ratio for each precision and thread count."""
    found: dict[tuple[str, int], list[Row]] = {}
    for cell in cells:
        found.setdefault((cell["precision"], cell["threads"]), []).append(cell)
    return [
        {"precision": precision, "threads": threads, "networks": len(members)}
        | {kind: _geometric_mean([cell[kind] for cell in members]) for kind in RATIOS}
        for (precision, threads), members in found.items()
    ]


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def cells_of(row: Row, own: Row | None) -> list[str]:
    """A row of a table as text."""
    if "median_ms" not in row:
        return [row["peer"], row["variant"], *["-"] * (len(HEADERS) - 2)]
    ratio = "-" if own is None or row is own else f"{own['median_ms'] / row['median_ms']:.2f}"
    return [
        row["peer"],
        row["variant"],
        *(f"{row[key]:.3f}" for key in ("median_ms", "minimum_ms", "p90_ms")),
        ratio,
        f"{row['cosine']:.5f}" + ("" if usable(row) else " differs"),
        f"{row['relative_error']:.1e}",
        f"{row['cold_start_ms']:.0f}",
        f"{row['rss_bytes'] / 1e6:.0f}",
        f"{row['file_bytes'] / 1e6:.2f}",
    ]


def text(figures: Row) -> str:
    """All tables for a terminal."""
    parts = []
    for (network, precision, threads), members in groups(figures["rows"]).items():
        own = next((row for row in members if row["peer"] == "edgenet" and usable(row)), None)
        ordered = sorted(members, key=lambda row: row.get("median_ms", math.inf))
        title = f"{network}, {precision}, {threads} thread{'s' if threads > 1 else ''}"
        lines = [title, table(HEADERS, [cells_of(row, own) for row in ordered])]
        lines += [f"{row['peer']} {row['variant']}: {row['failure']}" for row in members if row["failure"]]
        parts.append("\n".join(lines))
    if figures["ratios"]:
        kinds = ("ratio", "paired", "least")
        headers = ("network", "precision", "threads", "edgenet ms", "best peer", "its ms", *kinds, "cosines")
        parts.append("edgenet / best peer\n" + table(headers, [_ratio_cells(cell) for cell in figures["ratios"]]))
    parts += [
        f"geometric mean of {mean['networks']} networks, {mean['precision']}, threads {mean['threads']}: "
        f"{mean['ratio']:.3f} ({mean['paired_ratio']:.3f} within rounds, {mean['least_ratio']:.3f} of the least times)"
        for mean in figures["geometric_means"]
    ]
    if figures["gains"]:
        headers = ("network", "precision", "threads", "times as fast as", "threads", "by the least times")
        parts.append("edgenet with more threads\n" + table(headers, [_gain_cells(gain) for gain in figures["gains"]]))
    left_out, disturbed = (sum(row.get(key, 0) for row in figures["rows"]) for key in ("left_out", "disturbed"))
    if left_out or disturbed:
        parts.append(f"The host was not always idle: {left_out} turns do not count, {disturbed} do all the same.")
    notes = {f"{row['peer']} {row['variant']}: {row['note']}" for row in figures["rows"] if row["note"]}
    parts.append("\n".join([*sorted(notes), describe(figures["machine"])]))
    return "\n\n".join(parts)


def _ratio_cells(cell: Row) -> list[str]:
    return [
        cell["network"],
        cell["precision"],
        str(cell["threads"]),
        f"{cell['edgenet_ms']:.3f}",
        f"{cell['best_peer']} {cell['best_variant']}",
        f"{cell['best_ms']:.3f}",
        *(f"{cell[kind]:.3f}" for kind in RATIOS),
        f"{cell['edgenet_cosine']:.5f} / {cell['best_cosine']:.5f}",
    ]


def _gain_cells(gain: Row) -> list[str]:
    return [
        gain["network"],
        gain["precision"],
        str(gain["threads"]),
        f"{gain['times']:.2f}",
        str(gain["than_threads"]),
        f"{gain['least_times']:.2f}",
    ]


def figures(rows: Sequence[Row], machine: Row, options: Row) -> Row:
    """What is printed and saved."""
    cells = ratios(rows)
    return {
        "machine": machine,
        "options": options,
        "rows": list(rows),
        "ratios": cells,
        "geometric_means": geometric_means(cells),
        "gains": gains(rows),
    }

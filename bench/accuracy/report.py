"""The study's rows as tables: accuracy beside cost, and what the separable twin saves and loses."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from edgenet.bench.timing import describe
from edgenet.commands.console import table

from .study import SEPARABLE, STANDARD

Row = dict[str, Any]

HEADERS = (
    "network",
    "precision",
    "accuracy %",
    "MACs",
    "parameters",
    "file kB",
    "ms",
    "ms without Winograd",
)
SAVING_HEADERS = ("width", "precision", "accuracy, points", "MACs", "parameters", "file", "time", "time, direct")


def cells(row: Row) -> list[str]:
    """A row of the table of accuracy and cost as text."""
    return [
        f"{row['network']} (width {row['width']})",
        row["precision"],
        share(row["accuracy_mean"], row["accuracy_spread"], len(row["seeds"])),
        f"{row['macs'] / 1e6:.2f} M",
        f"{row['parameters'] / 1e3:.1f} k",
        f"{row['file_bytes'] / 1e3:.1f}",
        f"{row['ms']:.4f}",
        f"{row['ms_direct']:.4f}",
    ]


def share(mean: float, spread: float, seeds: int, sign: str = "") -> str:
    """A share in per cent, with its standard deviation where there are several seeds."""
    text = f"{100 * mean:{sign}.2f}"
    return f"{text} ± {100 * spread:.2f}" if seeds > 1 else text


def savings(rows: Sequence[Row]) -> list[Row]:
    """By width and precision, the separable twin against the standard one: accuracy minus accuracy, and cost / cost.

    The accuracies are paired by seed: `accuracy_spread` is the standard deviation of their differences.
    """
    found = []
    by_key = {(row["network"], row["width"], row["precision"]): row for row in rows}
    for (network, width, precision), standard in by_key.items():
        separable = by_key.get((SEPARABLE, width, precision))
        if network != STANDARD or separable is None:
            continue
        pairs = zip(separable["accuracies"], standard["accuracies"], strict=True)
        differences = [ours - theirs for ours, theirs in pairs]
        found.append(
            {
                "width": width,
                "precision": precision,
                "seeds": standard["seeds"],
                "accuracy_mean": statistics.mean(differences),
                "accuracy_spread": statistics.stdev(differences) if len(differences) > 1 else 0.0,
                **{
                    key: separable[key] / standard[key]
                    for key in ("macs", "parameters", "file_bytes", "ms", "ms_direct")
                },
            }
        )
    return found


def saving_cells(saving: Row) -> list[str]:
    """A row of the table of savings as text: each cost as a share of the standard twin's."""
    costs = [f"1/{1 / saving[key]:.1f}" for key in ("macs", "parameters", "file_bytes", "ms", "ms_direct")]
    accuracy = share(saving["accuracy_mean"], saving["accuracy_spread"], len(saving["seeds"]), "+")
    return [str(saving["width"]), saving["precision"], accuracy, *costs]


def text(rows: Sequence[Row]) -> str:
    """Both tables for a terminal."""
    parts = [table(HEADERS, [cells(row) for row in rows])]
    found = savings(rows)
    if found:
        parts.append("separable / standard:\n" + table(SAVING_HEADERS, [saving_cells(each) for each in found]))
    return "\n\n".join((*parts, note(rows)))


def markdown(rows: Sequence[Row], command: str) -> str:
    """Both tables for the README, with the machine and the command that made them."""
    parts = [_table(HEADERS, [cells(row) for row in rows], 2)]
    found = savings(rows)
    if found:
        parts.append("The separable twin beside the standard one:")
        parts.append(_table(SAVING_HEADERS, [saving_cells(each) for each in found], 2))
    return "\n\n".join((*parts, f"{note(rows)} Made by `{command}`.")) + "\n"


def note(rows: Sequence[Row]) -> str:
    """What the figures rest on, in words."""
    first = rows[0]
    seeds = len(first["seeds"])
    over = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    spread = max(row["timing"]["spread"] for row in rows)
    return (
        f"{first['dataset']}, {first['epochs']} epochs; accuracy on all {first['test_images']} test pictures, {over}. "
        f"Time of one picture, median of {first['timing']['rounds']} interleaved rounds (interquartile range at most "
        f"{spread:.0%}). {describe(first['machine'])}."
    )


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A Markdown table whose first `left` columns are text and the others numbers."""
    lines = ["| " + " | ".join(headers) + " |", "|" + "---|" * left + "---:|" * (len(headers) - left)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])

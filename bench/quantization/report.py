"""Tables, margins and JSON of the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgenet.commands.console import table

HEADERS = (
    "runtime",
    "variant",
    "SQNR dB",
    "photographs",
    "crops",
    "worst 5 %",
    "same top-1",
    "converted in",
    "file MB",
)

Row = dict[str, Any]


def margins(rows: Sequence[Row]) -> list[Row]:
    """For each network: edgenet's mean SQNR, the best peer's, and how far edgenet lies above it, in dB."""
    cells = []
    for network in dict.fromkeys(row["network"] for row in rows):
        members = [row for row in rows if row["network"] == network and "sqnr" in row]
        own = next((row for row in members if row["peer"] == "edgenet"), None)
        others = [row for row in members if row["peer"] != "edgenet"]
        if own is None or not others:
            continue
        best = max(others, key=lambda row: row["sqnr"])
        cells.append(
            {
                "network": network,
                "edgenet": own["sqnr"],
                "best_peer": best["peer"],
                "best_variant": best["variant"],
                "best": best["sqnr"],
                "margin": own["sqnr"] - best["sqnr"],
            }
        )
    return cells


def content(rows: Sequence[Row], pictures: dict[str, Any]) -> dict[str, Any]:
    """Everything that is written as JSON."""
    return {"pictures": pictures, "rows": list(rows), "margins": margins(rows)}


def text(found: dict[str, Any]) -> str:
    """A table for each network, the most accurate first, then the margins."""
    parts = []
    for network in dict.fromkeys(row["network"] for row in found["rows"]):
        members = [row for row in found["rows"] if row["network"] == network]
        members.sort(key=lambda row: -row.get("sqnr", -1e9))
        shown = table(HEADERS, [_cells(row) for row in members])
        parts.append(f"{network}, int8, {members[0].get('samples', 0)} images\n{shown}")
    for cell in found["margins"]:
        parts.append(
            f"{cell['network']}: edgenet {cell['edgenet']:.2f} dB, the best other runtime ({cell['best_peer']} "
            f"{cell['best_variant']}) {cell['best']:.2f} dB: {cell['margin']:+.2f} dB"
        )
    if not found["margins"]:
        parts.append("No other runtime could be measured: install onnxruntime, openvino and nncf to compare with them.")
    return "\n\n".join(parts)


def _cells(row: Row) -> tuple[str, ...]:
    if "sqnr" not in row:
        return (row["peer"], row["variant"], "-", "-", "-", "-", "-", "-", row["failure"])
    crops = "-" if row["sqnr_crops"] is None else f"{row['sqnr_crops']:.2f}"
    return (
        f"{row['peer']} {row['version']}".strip(),
        row["variant"],
        f"{row['sqnr']:.2f}",
        f"{row['sqnr_photographs']:.2f}",
        crops,
        f"{row['sqnr_p05']:.2f}",
        f"{row['top1_agreement']:.1%}",
        f"{row['conversion_seconds']:.0f} s",
        f"{row['file_bytes'] / 1e6:.2f}",
    )

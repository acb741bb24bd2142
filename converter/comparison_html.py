"""A comparison as one HTML page: accuracy, a plot of all layers in the order of the network, the table worst first."""

from __future__ import annotations

from html import escape
from typing import Any

from .comparison import HEADERS, Comparison, accuracy_text, cells, decibel, output_text

HIGHEST = 80.0
"""dB at the top of the plot; exact layers are drawn there."""
HEIGHT, WIDTH, LEFT = 260, 1000, 40
"""Of the plot, in user units."""
COLORS = {"isolated": "#1b6ca8", "cumulative": "#d1603d"}

STYLE = """body{font:14px system-ui,sans-serif;margin:2em;max-width:75em}table{border-collapse:collapse}
td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child,
td:nth-child(2),th:nth-child(2){text-align:left}tr.worst td{background:#fdeee8}svg{width:100%;height:auto}"""


def page(comparison: Comparison) -> str:
    """The page's text. It holds everything it shows and loads nothing."""
    title = escape(comparison.title or "comparison")
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>",
        *(f"<p>{escape(line)}</p>" for line in _lines(comparison)),
        plot(in_order(comparison.rows)),
        _table(comparison.rows),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in the order of the network."""
    return sorted(rows, key=lambda row: row["position"])


def _lines(comparison: Comparison) -> list[str]:
    return [output_text(row) for row in comparison.outputs] + [accuracy_text(row) for row in comparison.accuracy]


def plot(rows: list[dict[str, Any]]) -> str:
    """SVG: isolated SQNR as bars, cumulative as a line; each bar tells its layer when pointed at."""
    step = (WIDTH - LEFT) / max(len(rows), 1)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 30}" role="img" aria-label="SQNR of each layer in dB">']
    for level in range(0, int(HIGHEST) + 1, 20):
        y = _y(level)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" font-size="12">{level}</text>')
    points = []
    for index, row in enumerate(rows):
        x, y = LEFT + index * step, _y(row["isolated_sqnr"])
        label = escape(f"{row['name']}: isolated {decibel(row['isolated_sqnr'])}, cumulative {decibel(row['sqnr'])} dB")
        parts.append(
            f'<rect x="{x + step * 0.1:.1f}" y="{y:.1f}" width="{step * 0.8:.1f}" height="{HEIGHT - y:.1f}" '
            f'fill="{COLORS["isolated"]}"><title>{label}</title></rect>'
        )
        points.append(f"{x + step / 2:.1f},{_y(row['sqnr']):.1f}")
    parts.append(
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{COLORS["cumulative"]}" stroke-width="2"/>'
    )
    for index, (name, color) in enumerate(COLORS.items()):
        x = LEFT + index * 220
        parts.append(f'<rect x="{x}" y="{HEIGHT + 14}" width="10" height="10" fill="{color}"/>')
        parts.append(f'<text x="{x + 16}" y="{HEIGHT + 24}" font-size="12">{name} SQNR, dB, layer by layer</text>')
    return "\n".join([*parts, "</svg>"])


def _y(decibel: float | None) -> float:
    share = 1.0 if decibel is None else min(max(decibel / HIGHEST, 0.0), 1.0)
    return HEIGHT * (1 - share)


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["<table><tr>", *(f"<th>{escape(head)}</th>" for head in HEADERS), "</tr>"]
    for index, row in enumerate(rows):
        mark = ' class="worst"' if index < 3 and row["isolated_sqnr"] is not None else ""
        lines.append(f"<tr{mark}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells(row))}</tr>")
    return "\n".join([*lines, "</table>"])

"""The report of a study: one self-contained HTML page with its pictures, and beside it each picture and its data."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgenet.commands.console import write_json
from edgenet.errors import InputError
from edgenet.output import replacing, write_text

from . import pictures, separable, twins
from .timing import describe

MOST_ROWS = 60
"""The page shows so many rows of a study: those that are furthest from the law."""

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#111;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem}
img{width:100%;height:auto}figure{margin:1rem 0}figcaption{font-size:.9rem;color:#444}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.8rem;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .5rem;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}
th:first-child,td:first-child,td.text,th.text{text-align:left}
td:last-child{text-align:left;white-space:normal;min-width:12rem}
@media print{body{max-width:none;font-size:10pt;padding:0}.scroll{overflow:visible}
table{font-size:6.5pt}td:last-child{min-width:0}figure,tr{break-inside:avoid}thead{display:table-header-group}}
"""


def require_matplotlib() -> None:
    """InputError without matplotlib, which draws the pictures."""
    try:
        import matplotlib  # noqa: F401  # asked for before the measuring, not after it
    except ImportError:
        raise InputError("Pictures need matplotlib: pip install 'edgenet[bench]'.") from None


def read_accuracy(path: str) -> list[dict[str, Any]]:
    """Rows of an accuracy study: a JSON list of objects with the keys that `pictures.accuracy` reads. InputError."""
    wanted = {"network", "precision", "accuracy_mean", "accuracy_spread", "macs", "ms"}
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{path} is not a readable JSON file.") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) and wanted <= set(row) for row in rows):
        raise InputError(f"{path} does not hold rows of an accuracy study: a list of {', '.join(sorted(wanted))}.")
    return rows


def write(path: Path, figures: dict[str, Any]) -> list[Path]:
    """Write the report, its pictures as STEM-NAME.png with their data as STEM-NAME.json; returns the files.

    `figures` may hold rows with limits, machine and summary (a study of layers), twins, accuracy.
    """
    parts: list[str] = []
    files = [path]
    rows = figures.get("rows", [])

    def picture(name: str, draw: Callable[[], Any], data: Any, caption: str) -> None:
        target = path.with_name(f"{path.stem}-{name}.png")
        buffer = io.BytesIO()
        draw().savefig(buffer, format="png")
        with replacing(target) as file:
            file.write(buffer.getvalue())
        write_json(target.with_suffix(".json"), data)
        files.extend((target, target.with_suffix(".json")))
        code = base64.b64encode(buffer.getvalue()).decode("ascii")
        parts.append(
            f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{code}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )

    if "twins" in figures:
        found = figures["twins"]
        parts.append("<h2>Whole networks</h2>")
        caption = "Latency of MobileNetV1 and of its twin with standard convolutions."
        picture("twins", lambda: pictures.twins(found), found, caption)
        parts.append(_table(twins.HEADERS, [twins.cells(row) for row in found["rows"]]))
        parts.append(f"<p>{html.escape(describe(found['machine']))}</p>")
    if rows:
        _layers(parts, picture, figures)
    if "accuracy" in figures:
        parts.append("<h2>Accuracy</h2>")
        caption = "Accuracy (mean, bars: spread over seeds) against multiply-adds and against latency."
        picture("accuracy", lambda: pictures.accuracy(figures["accuracy"]), figures["accuracy"], caption)
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>edgenet: separable convolution</title><style>{STYLE}'
        f"</style></head><body><h1>Depthwise-separable against standard convolution</h1>{''.join(parts)}</body></html>"
    )
    write_text(path, page)
    return files


def _layers(parts: list[str], picture: Callable[..., None], figures: dict[str, Any]) -> None:
    """The part of a study of layers."""
    rows = figures["rows"]
    parts.append("<h2>Layers</h2>")
    parts.append("<p>" + "<br>".join(map(html.escape, separable.verdict(figures["summary"]).splitlines())) + "</p>")
    plotted = [{key: row[key] for key in ("name", "precision", "threads", "law", "measured", "roofline", "winograd")}
               for row in rows]  # fmt: skip
    caption = "Share of the standard convolution's time that depthwise + pointwise take, against the law 1/D2 + 1/F²."
    picture("saving", lambda: pictures.saving(rows), plotted, caption)
    if len({(row["layer"]["height"], row["layer"]["filters"]) for row in rows}) > 1:
        caption = "Median of the measured share / the law's, by image height and output channels."
        picture("heat-map", lambda: pictures.heat_map(rows), plotted, caption)
    caption = (
        "Every convolution under the machine's limits: peak arithmetic, and speed of copying by level. Products "
        "with padding count, but depthwise kernels leave them out: large ones on small images exceed the peak."
    )
    threads = min(row["threads"] for row in rows)
    points = [
        point for precision in separable.PRECISIONS for point in pictures.roofline_points(rows, precision, threads)
    ]
    picture("roofline", lambda: pictures.roofline(rows, figures["limits"]), points, caption)
    far = sorted(rows, key=lambda row: -max(row["measured"] / row["law"], row["law"] / row["measured"]))[:MOST_ROWS]
    if len(rows) > MOST_ROWS:
        parts.append(f"<p>The {MOST_ROWS} rows that are furthest from the law, of {len(rows)}:</p>")
    parts.append(_table(separable.HEADERS, [separable.cells(row) for row in (far if len(rows) > MOST_ROWS else rows)]))
    parts.append(f"<p>{html.escape(describe(figures['machine']))}</p>")


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(header)}</th>" for header in headers)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'

"""What the studies' pictures share: figures that need no display, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgenet.errors import InputError
from edgenet.output import replacing


def agg_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure of `size` inches with its axes, plain and with a light grid. Raises InputError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("Drawing needs matplotlib: pip install 'edgenet[bench]'.") from None
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns)
    for each in axes.flat if hasattr(axes, "flat") else [axes]:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(color="#dddddd", linewidth=0.6)
        each.set_axisbelow(True)
    return figure, axes


def save(figure: Any, path: Path) -> None:
    """Write the figure as PNG."""
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=160)

"""Curves of training runs as a picture: loss and accuracy by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .checkpoint import History


def draw(runs: Mapping[str, History], path: Path) -> None:
    """Write a PNG with the loss (left) and, where it was followed, the validation accuracy (right) of each run.

    Raises InputError when matplotlib is missing.
    """
    from edgenet.bench.plotting import agg_figure, save

    figure, (left, right) = agg_figure(1, 2, (9, 3.6))
    for name, history in runs.items():
        epochs = range(1, history.epochs + 1)
        (line,) = left.plot(epochs, history.loss, marker="o", markersize=3, label=name)
        if history.accuracy:
            values = [100 * value for value in history.accuracy]
            right.plot(epochs, values, marker="o", markersize=3, color=line.get_color())
    left.set(xlabel="epoch", ylabel="loss in training")
    right.set(xlabel="epoch", ylabel="accuracy, % of validation pictures")
    left.legend(fontsize="small", frameon=False)
    save(figure, path)

"""How far computed values lie from those wanted: the figures of one layer, and the report over all of them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgenet.graph import Node

HEADERS = (
    "layer",
    "operation",
    "isolated dB",
    "cosine",
    "max error",
    "cumulative dB",
    "cosine",
    "clipped",
    "worst channel",
)
SHOWN = 30
"""Layers that the text of a comparison lists."""


class Deviation:
    """Accumulates values and the values wanted for them, over any number of samples; channels are the last axis."""

    def __init__(self) -> None:
        self._signal = self._energy = self._product = self.maximum = 0.0
        self.count = 0
        self._channels: np.ndarray | None = None

    def add(self, got: np.ndarray, wanted: np.ndarray) -> None:
        """Take in float arrays of one shape."""
        got, wanted = got.astype(np.float64), wanted.astype(np.float64)
        difference = got - wanted
        self.count += wanted.size
        self._signal += float((wanted * wanted).sum())
        self._energy += float((got * got).sum())
        self._product += float((got * wanted).sum())
        self.maximum = max(self.maximum, float(np.abs(difference).max(initial=0.0)))
        noise = (difference * difference).reshape(-1, difference.shape[-1]).sum(0)
        self._channels = noise if self._channels is None else self._channels + noise

    @property
    def channels(self) -> np.ndarray:
        """Squared error of each channel, summed; empty before anything was taken in."""
        return np.zeros(0) if self._channels is None else self._channels

    @property
    def noise(self) -> float:
        return 0.0 if self._channels is None else float(self._channels.sum())

    @property
    def sqnr(self) -> float | None:
        """Signal-to-noise ratio in dB; None where nothing differs."""
        if self.noise == 0:
            return None
        return 10 * math.log10(max(self._signal, 1e-300) / self.noise)

    @property
    def cosine(self) -> float:
        """Cosine of the angle between the values and those wanted; 1 where both are zero."""
        scale = math.sqrt(self._signal * self._energy)
        return self._product / scale if scale else float(self._signal == self._energy)

    @property
    def worst_channel(self) -> int | None:
        """The channel with the most squared error; None where nothing differs."""
        return None if self._channels is None or self.noise == 0 else int(self._channels.argmax())

    @property
    def worst_share(self) -> float | None:
        """That channel's share of the squared error, 0..1."""
        return None if self._channels is None or self.noise == 0 else float(self._channels.max()) / self.noise


@dataclass
class Row:
    """One layer. Isolated: run on the reference's inputs; cumulative: on what the model's earlier layers gave it.

    SQNR in dB (None: no difference). `clipping`: share of the wanted values that lie beyond what the int8 output holds
    (None: the output is not int8). `worst_channel` and its share of the squared error are those of the isolated run.
    `position`: the layer's place in the network.
    """

    name: str
    operation: str
    shape: list[int]
    isolated_sqnr: float | None
    isolated_cosine: float
    isolated_max_error: float
    sqnr: float | None
    cosine: float
    max_error: float
    clipping: float | None
    worst_channel: int | None
    worst_channel_share: float | None
    source: str
    position: int


def make_row(
    node: Node, position: int, shape: list[int], clipping: float | None, alone: Deviation, chain: Deviation
) -> Row:
    """A row from a layer's two deviations."""
    return Row(
        node.name,
        node.operation,
        shape,
        alone.sqnr,
        alone.cosine,
        alone.maximum,
        chain.sqnr,
        chain.cosine,
        chain.maximum,
        clipping,
        alone.worst_channel,
        alone.worst_share,
        node.source,
        position,
    )


@dataclass
class Comparison:
    """Result of `compare`: `rows` (dicts, worst isolated layer first), `outputs` against PyTorch, `samples` run.

    `accuracy`, for labelled samples: top-1 and top-5 of PyTorch, edgenet in float32 and the model, as shares with 95 %
    intervals.
    """

    rows: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    samples: int
    title: str = field(default="")
    accuracy: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> str:
        """Everything as JSON text."""
        return json.dumps(asdict(self), allow_nan=False)

    def to_html(self) -> str:
        """Everything as one self-contained page, with a plot of the layers in the order of the network."""
        from .comparison_html import page

        return page(self)

    def __str__(self) -> str:
        table = [HEADERS, *(cells(row) for row in self.rows[:SHOWN])]
        widths = [max(len(row[i]) for row in table) for i in range(len(HEADERS))]
        lines = [self.title] if self.title else []
        for row in table:
            padded = (
                cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            lines.append("  ".join(padded).rstrip())
        if len(self.rows) > SHOWN:
            lines.append(f"... and {len(self.rows) - SHOWN} more, all of them better")
        lines += [output_text(row) for row in self.outputs]
        lines += [accuracy_text(row) for row in self.accuracy]
        return "\n".join(lines)


def output_text(row: dict[str, Any]) -> str:
    """One line of an output."""
    agreement = row["top1_agreement"]
    top = "" if agreement is None else f", same top-1 in {agreement:.0%} of samples"
    return (
        f"output {row['name']} against PyTorch: {decibel(row['sqnr'])} dB, cosine {row['cosine']:.6f}, "
        f"max error {row['max_error']:.3g}{top}"
    )


def accuracy_text(row: dict[str, Any]) -> str:
    """One line of an accuracy."""
    parts = []
    for key, name in (("top1", "top-1"), ("top5", "top-5")):
        low, high = row[f"{key}_interval"]
        parts.append(f"{name} {row[key]:.2%} (95 % interval {low:.2%} to {high:.2%})")
    return f"{row['name']}: {', '.join(parts)} of {row['samples']} samples"


def decibel(value: float | None) -> str:
    """An SQNR as text."""
    return "exact" if value is None else f"{value:.1f}"


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A row as texts, one for each of HEADERS."""
    worst = "" if row["worst_channel"] is None else f"{row['worst_channel']} ({row['worst_channel_share']:.0%})"
    return (
        row["name"],
        row["operation"],
        decibel(row["isolated_sqnr"]),
        f"{row['isolated_cosine']:.5f}",
        f"{row['isolated_max_error']:.3g}",
        decibel(row["sqnr"]),
        f"{row['cosine']:.5f}",
        "" if row["clipping"] is None else f"{row['clipping']:.2%}",
        worst,
    )


def sort_rows(rows: list[Row]) -> list[dict[str, Any]]:
    """Rows as dicts, the lowest isolated SQNR first, exact layers last."""
    ordered = sorted(rows, key=lambda row: math.inf if row.isolated_sqnr is None else row.isolated_sqnr)
    return [asdict(row) for row in ordered]

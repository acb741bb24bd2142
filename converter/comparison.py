"""How far computed values lie from those wanted: the figures of one layer, and the report over all of them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

SHOWN = 30
"""Layers that the text of a comparison lists."""


class Deviation:
    """Accumulates values and the values wanted for them, over any number of samples; channels are the last axis."""

    def __init__(self) -> None:
        self._signal = self._energy = self._product = self.maximum = 0.0
        self._channels: np.ndarray | None = None

    def add(self, got: np.ndarray, wanted: np.ndarray) -> None:
        """Take in float arrays of one shape."""
        got, wanted = got.astype(np.float64), wanted.astype(np.float64)
        difference = got - wanted
        self._signal += float((wanted * wanted).sum())
        self._energy += float((got * got).sum())
        self._product += float((got * wanted).sum())
        self.maximum = max(self.maximum, float(np.abs(difference).max(initial=0.0)))
        noise = (difference * difference).reshape(-1, difference.shape[-1]).sum(0)
        self._channels = noise if self._channels is None else self._channels + noise

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

    SQNR in dB (None: no difference). `worst_channel` and its share of the squared error are those of the isolated run.
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
    worst_channel: int | None
    worst_channel_share: float | None
    source: str


def make_row(name: str, operation: str, shape: list[int], source: str, alone: Deviation, chain: Deviation) -> Row:
    """A row from its two deviations."""
    return Row(
        name,
        operation,
        shape,
        alone.sqnr,
        alone.cosine,
        alone.maximum,
        chain.sqnr,
        chain.cosine,
        chain.maximum,
        alone.worst_channel,
        alone.worst_share,
        source,
    )


@dataclass
class Comparison:
    """Result of `compare`: `rows` (dicts, worst isolated layer first), `outputs` against PyTorch, `samples` run."""

    rows: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    samples: int
    title: str = field(default="")

    def to_json(self) -> str:
        """Everything as JSON text."""
        return json.dumps(asdict(self), allow_nan=False)

    def __str__(self) -> str:
        header = (
            "layer",
            "operation",
            "isolated dB",
            "cosine",
            "max error",
            "cumulative dB",
            "cosine",
            "worst channel",
        )
        table = [header, *(_cells(row) for row in self.rows[:SHOWN])]
        widths = [max(len(row[i]) for row in table) for i in range(len(header))]
        lines = [self.title] if self.title else []
        for row in table:
            cells = (
                cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            lines.append("  ".join(cells).rstrip())
        if len(self.rows) > SHOWN:
            lines.append(f"... and {len(self.rows) - SHOWN} more, all of them better")
        for output in self.outputs:
            agreement = output["top1_agreement"]
            top = "" if agreement is None else f", same top-1 in {agreement:.0%} of samples"
            lines.append(
                f"output {output['name']} against PyTorch: {_decibel(output['sqnr'])} dB, "
                f"cosine {output['cosine']:.6f}, max error {output['max_error']:.3g}{top}"
            )
        return "\n".join(lines)


def _decibel(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f}"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    worst = "" if row["worst_channel"] is None else f"{row['worst_channel']} ({row['worst_channel_share']:.0%})"
    return (
        row["name"],
        row["operation"],
        _decibel(row["isolated_sqnr"]),
        f"{row['isolated_cosine']:.5f}",
        f"{row['isolated_max_error']:.3g}",
        _decibel(row["sqnr"]),
        f"{row['cosine']:.5f}",
        worst,
    )


def sort_rows(rows: list[Row]) -> list[dict[str, Any]]:
    """Rows as dicts, the lowest isolated SQNR first, exact layers last."""
    ordered = sorted(rows, key=lambda row: math.inf if row.isolated_sqnr is None else row.isolated_sqnr)
    return [asdict(row) for row in ordered]

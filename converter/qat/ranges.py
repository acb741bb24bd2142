"""Ranges of activations that follow the network while it trains."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from edgenet.converter.quantize.ranges import quantization
from edgenet.graph import Quantization

LARGEST_SHARE = 8.0
"""Most that a chosen range may exceed the average sample's extreme by."""


def sample_extremes(value: Tensor) -> Tensor:
    """[2, N]: the smallest and the largest value of each sample."""
    return torch.stack(value.detach().reshape(len(value), -1).aminmax(dim=1))


class Extremes:
    """Mean over samples of the smallest value and of the largest."""

    def __init__(self) -> None:
        self.sums, self.samples = torch.zeros(2, dtype=torch.float64), 0

    def add(self, values: Tensor) -> None:
        """Count the samples along axis 0."""
        self.sums += sample_extremes(values).double().sum(1)
        self.samples += len(values)

    def mean(self) -> tuple[float, float]:
        """(smallest, largest), on their sides of zero."""
        low, high = (self.sums / self.samples).tolist()
        return min(low, 0.0), max(high, 0.0)


class MovingRanges(nn.Module):
    """One range for each group of tensors: `shares` of the moving average of its samples' extremes, `ends`."""

    ends: Tensor
    shares: Tensor

    def __init__(self, extremes: dict[str, tuple[float, float]], chosen: dict[str, Quantization], averaging: float):
        super().__init__()
        self.averaging = averaging
        self.rows = {name: row for row, name in enumerate(extremes)}
        shares = []
        for name, ends in extremes.items():
            q = chosen[name]
            wanted = ((-128 - q.zero_point) * q.scale[0], (127 - q.zero_point) * q.scale[0])
            shares.append([_share(w, end) for w, end in zip(wanted, ends, strict=True)])
        self.register_buffer("ends", torch.tensor(list(extremes.values()), dtype=torch.float64).reshape(-1, 2))
        self.register_buffer("shares", torch.tensor(shares, dtype=torch.float64).reshape(-1, 2))
        self._seen: dict[str, Tensor] = {}

    def see(self, name: str, value: Tensor, scale: float, low: float | None, high: float | None) -> None:
        """Note what a tensor of group `name` holds in this pass: `value * scale`, clamped to `low`..`high`."""
        found = (sample_extremes(value).double() * scale).clamp(-np.inf if low is None else low, high)
        if name in self._seen and self._seen[name].shape == found.shape:
            before = self._seen[name]
            found = torch.stack([torch.minimum(before[0], found[0]), torch.maximum(before[1], found[1])])
        self._seen[name] = found

    def forget(self) -> None:
        """Drop what a pass that did not end has noted."""
        self._seen.clear()

    def update(self) -> None:
        """Move the averages towards what was noted since the last update. Values that are not finite are left out."""
        for name, found in self._seen.items():
            low, high = found.mean(1)
            target = torch.stack([low.clamp(max=0), high.clamp(min=0)])
            if bool(torch.isfinite(target).all()):
                self.ends[self.rows[name]].lerp_(target, self.averaging)
        self._seen.clear()

    def quantizations(self) -> dict[str, Quantization]:
        """Scale and zero point of each group."""
        table = (self.ends * self.shares).tolist()
        return {name: quantization(*table[row]) for name, row in self.rows.items()}


def _share(wanted: float, end: float) -> float:
    """`wanted / end`, or 1 where there is nothing to take a share of."""
    return float(np.clip(wanted / end, 0.0, LARGEST_SHARE)) if end else 1.0

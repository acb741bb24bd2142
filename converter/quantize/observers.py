"""Statistics of activations over any number of samples, in bounded memory."""

from __future__ import annotations

import math

import numpy as np
import torch

from edgenet.errors import ConversionError

HALF = 4096
"""Bins on each side of zero."""


class Histogram:
    """Histogram around zero whose bins double in width when a value falls outside, and the exact extremes.

    The width is a power of two, so that doubling merges whole bins and the order of samples does not matter much.
    """

    def __init__(self, name: str):
        self.name = name
        self.counts = torch.zeros(2 * HALF, dtype=torch.float64)
        self.width = 0.0
        self.low, self.high = math.inf, -math.inf

    def add(self, values: torch.Tensor, weights: torch.Tensor | None = None) -> None:
        """Count the values, each once or by its weight. ConversionError when one is not finite."""
        low, high = (float(end) for end in values.aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ConversionError(
                f"The calibration samples give infinite or undefined values in {self.name}. Check them and the weights."
            )
        self.low, self.high = min(self.low, low), max(self.high, high)
        peak = max(-low, high)
        if peak == 0 and self.width == 0:
            self.counts[HALF] += values.numel() if weights is None else float(weights.sum())
            return
        if self.width == 0:
            self.width = 2.0 ** (math.floor(math.log2(peak / HALF)) + 1)
        while peak >= self.width * HALF:
            merged = self.counts.reshape(HALF, 2).sum(1)
            self.counts.zero_()
            self.counts[HALF // 2 : HALF // 2 + HALF] = merged
            self.width *= 2
        bins = (values.reshape(-1) / self.width).floor_().add_(HALF).clamp_(0, 2 * HALF - 1).int()
        shares = torch.ones(()).expand(bins.shape) if weights is None else weights.reshape(-1)
        self.counts += torch.bincount(bins, shares.double(), 2 * HALF)

    def occupied(self) -> tuple[np.ndarray, np.ndarray]:
        """(centres, counts) of the bins with weight, ascending. Centres lie within the extremes seen."""
        counts = self.counts.numpy()
        found = np.flatnonzero(counts)
        centres = (found - HALF + 0.5) * self.width
        return np.clip(centres, self.low, self.high), counts[found]

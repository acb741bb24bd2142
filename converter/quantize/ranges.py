"""From a histogram to the scale and zero point of an int8 tensor."""

from __future__ import annotations

import numpy as np

from edgenet.graph import Quantization

from .observers import Histogram
from .options import QuantizationOptions

STEPS = np.concatenate([np.linspace(1.0, 0.5, 51), np.linspace(0.48, 0.1, 20)])
"""Shares of an end of the range that the search for the least error tries."""


def quantization(low: float, high: float) -> Quantization:
    """The quantization whose 256 values cover `low`..`high` and zero. A range of zero width gets the scale 1/127."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255)
    if not scale > 1e-30:
        return Quantization((float(np.float32(1 / 127)),), 0)
    return Quantization((float(scale),), int(np.clip(np.rint(-128 - low / float(scale)), -128, 127)))


def squared_error(centres: np.ndarray, counts: np.ndarray, low: float, high: float) -> float:
    """Sum of the squared errors of the values when quantized for the range `low`..`high`."""
    q = quantization(low, high)
    stored = np.clip(np.rint(centres / q.scale[0]) + q.zero_point, -128, 127)
    return float((counts * ((stored - q.zero_point) * q.scale[0] - centres) ** 2).sum())


def least_squares(centres: np.ndarray, counts: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """The range inside `low`..`high` with the least squared error: each end shrunk in turn, until neither gains."""
    best, ends = squared_error(centres, counts, low, high), [low, high]
    for _ in range(3):
        before = best
        for end in (0, 1):
            start = list(ends)
            for share in STEPS[1:]:
                trial = list(start)
                trial[end] = start[end] * share
                error = squared_error(centres, counts, trial[0], trial[1])
                if error < best:
                    best, ends = error, trial
        if best > before * 0.999:
            break
    return ends[0], ends[1]


def percentile(centres: np.ndarray, counts: np.ndarray, share: float) -> tuple[float, float]:
    """The range that leaves out (100 - share) / 2 percent of the values on each side."""
    cumulative = np.cumsum(counts) / counts.sum()
    tail = (100 - share) / 200
    first = int(np.searchsorted(cumulative, tail, side="right"))
    last = int(np.searchsorted(cumulative, 1 - tail, side="left"))
    return float(centres[min(first, len(centres) - 1)]), float(centres[min(last, len(centres) - 1)])


def choose(
    histogram: Histogram, options: QuantizationOptions, bounds: tuple[float | None, float | None] = (None, None)
) -> Quantization:
    """Quantization of a tensor from what was seen of it. Values outside `bounds` are known not to matter."""
    centres, counts = histogram.occupied()
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    if options.ranges == "percentile" and counts.sum() > 0:
        low, high = percentile(centres, counts, options.percentile)
    low = low if bounds[0] is None else max(low, bounds[0])
    high = high if bounds[1] is None else min(high, bounds[1])
    low, high = min(low, 0.0), max(high, 0.0)
    if options.ranges == "mse" and high > low:
        low, high = least_squares(np.clip(centres, low, high), counts, low, high)
    return quantization(low, high)

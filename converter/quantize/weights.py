"""int8 weights, int32 biases and float32 multipliers of convolutions and linear layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .rounding import Moments, round_weights

LARGEST_BIAS = 2**30 - 1
"""The int32 accumulator keeps this much room for the bias."""
SMALLEST_SCALE = 2.0**-80
"""Weight scales stay above it, so that multipliers are ordinary float32 numbers."""


@dataclass(frozen=True)
class IntegerWeights:
    """`weight` int8 in -127..127, `bias` int32 at scale `input scale * scale[c]`, `scale` float64 [O]."""

    weight: np.ndarray
    bias: np.ndarray
    scale: np.ndarray


def _spread(scale: np.ndarray, rank: int) -> np.ndarray:
    return scale.reshape(-1, *[1] * (rank - 1))


def weight_scales(
    weight: np.ndarray, bias: np.ndarray, input_scale: float, output_scale: float | None = None
) -> np.ndarray:
    """Scale of each output channel (axis 0): the largest weight becomes 127.

    A channel whose weights are zero or tiny beside its bias gets the scale at which the bias still fits. With
    `output_scale`, that of an int8 result, no sum counts in larger units than the result: weights that would, since
    their inputs are always zero, are cut, and the bias keeps its value.
    """
    flat = np.abs(weight.reshape(len(weight), -1)).astype(np.float64)
    least = np.abs(bias.astype(np.float64)) / (input_scale * LARGEST_BIAS)
    largest = np.inf if output_scale is None else output_scale / input_scale
    return np.maximum(np.maximum(np.minimum(flat.max(1) / 127, largest), least), SMALLEST_SCALE)


def symmetric(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(int8 values in -127..127, float32 scales [O]) of `weight` [O, ...], the largest of each channel being 127."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(1)
    scale = np.maximum(largest / np.float32(127), np.float32(SMALLEST_SCALE)).astype(np.float32)
    return np.clip(np.rint(weight / _spread(scale, weight.ndim)), -127, 127).astype(np.int8), scale


def quantize_weights(
    weight: np.ndarray,
    bias: np.ndarray | None,
    input_scale: float,
    moments: Moments | None = None,
    noise: float | None = None,
    output_scale: float | None = None,
) -> IntegerWeights:
    """Round `weight` [O, ...] to int8 per output channel and `bias` [O] (None: zeros) to int32.

    With the moments of the layer's input, so that the error of the output is least, else each weight to nearest.
    `noise`: the step of a rounding of the input that the moments do not contain (default: that to int8).
    `output_scale`: see `weight_scales`.
    """
    real = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
    scale = weight_scales(weight, real, input_scale, output_scale)
    if moments is None:
        stored = np.clip(np.rint(weight / _spread(scale, weight.ndim)), -127, 127).astype(np.int8)
    else:
        stored, shift = round_weights(weight, scale, moments, input_scale if noise is None else noise)
        real = real + shift
    whole = np.clip(np.rint(real / (input_scale * scale)), -LARGEST_BIAS, LARGEST_BIAS).astype(np.int32)
    return IntegerWeights(stored, whole, scale)

"""Arithmetic shared by the reference of every operation: activations, int8 rounding, lookup tables.

int8 values stand for `scale * (stored - zero_point)`. Every float32 step below is rounded on its own (no fused
multiply-add), so that any IEEE 754 implementation gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgenet.graph import Quantization, Tensor

Array = np.ndarray

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


ACTIVATIONS: dict[str, tuple[tuple[str, ...], Callable[..., Array]]] = {
    "clamp": (("min", "max"), lambda x, a: np.clip(x, _bound(a, "min"), _bound(a, "max"))),
    "leaky_relu": (("alpha",), lambda x, a: np.where(x >= 0, x, x * a["alpha"])),
    "elu": (("alpha",), lambda x, a: np.where(x > 0, x, a["alpha"] * np.expm1(np.minimum(x, 0)))),
    "sigmoid": ((), lambda x, a: _sigmoid(x)),
    "tanh": ((), lambda x, a: np.tanh(x)),
    "silu": ((), lambda x, a: x * _sigmoid(x)),
    "hardsigmoid": ((), lambda x, a: np.clip(x + 3, 0, 6) / 6),
    "hardswish": ((), lambda x, a: x * np.clip(x + 3, 0, 6) / 6),
    "gelu": ((), lambda x, a: x * 0.5 * (1 + _erf(x / math.sqrt(2)))),
    "gelu_tanh": ((), lambda x, a: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
    "softplus": ((), lambda x, a: _softplus(x)),
    "mish": ((), lambda x, a: x * np.tanh(_softplus(x))),
    "exp": ((), lambda x, a: np.exp(x)),
    "sqrt": ((), lambda x, a: np.sqrt(x)),
    "square": ((), lambda x, a: x * x),
    "abs": ((), lambda x, a: np.abs(x)),
    "neg": ((), lambda x, a: -x),
    "reciprocal": ((), lambda x, a: 1 / x),
    "log": ((), lambda x, a: np.log(x)),
    "erf": ((), lambda x, a: _erf(x)),
    "floor": ((), lambda x, a: np.floor(x)),
    "step": ((), lambda x, a: (x > 0).astype(x.dtype)),
}
"""Parameters and float64 function of each activation.

`clamp` with null bounds leaves that side open: ReLU is clamp(0, null).
"""


def _bound(activation: Mapping[str, Any], key: str) -> float | None:
    value = activation.get(key)
    return None if value is None else float(value)


def activate(x: Array, activation: Mapping[str, Any] | None) -> Array:
    """The activation of `x`, computed in float64 and returned in the dtype of `x`. None leaves `x` alone."""
    if activation is None:
        return x
    if activation["kind"] == "clamp" and activation.get("min") is None and activation.get("max") is None:
        return x
    with np.errstate(all="ignore"):
        return ACTIVATIONS[activation["kind"]][1](x.astype(np.float64), activation).astype(x.dtype)


def zero_point(tensor: Tensor) -> int:
    """Zero point of an int8 tensor."""
    return tensor.quantization.zero_point if tensor.quantization else 0


def centered(x: Array, tensor: Tensor) -> Array:
    """`stored - zero_point` in int32."""
    return x.astype(np.int32) - np.int32(zero_point(tensor))


def to_int8(value: Array, offset: int, low: int = -128, high: int = 127) -> Array:
    """clamp(round_half_to_even(value) + offset, low, high) of a float32 array, as int8; NaN counts as 0."""
    rounded = np.rint(np.nan_to_num(value.astype(np.float32), nan=0.0, posinf=np.inf, neginf=-np.inf))
    return np.clip(np.clip(rounded.astype(np.float64), -(2.0**31), 2.0**31) + offset, low, high).astype(np.int8)


def requantize(value: Array, output: Tensor, attributes: Mapping[str, Any]) -> Array:
    """`to_int8` with the output's zero point and the node's `q_min`, `q_max`."""
    return to_int8(value, zero_point(output), attributes.get("q_min", -128), attributes.get("q_max", 127))


def quantize_array(x: Array, quantization: Quantization) -> Array:
    """int8 of real values: round half to even of `x * float32(1 / scale)`, plus the zero point, clamped."""
    inverse = np.float32(1.0 / quantization.scale[0])
    return to_int8(x.astype(np.float32) * inverse, quantization.zero_point)


def build_table(function: Callable[[Array], Array], source: Quantization, result: Quantization) -> Array:
    """int8 table [256] of a real function, indexed by stored value + 128: computed in float64, rounded once."""
    real = (np.arange(-128, 128) - source.zero_point) * float(source.scale[0])
    with np.errstate(all="ignore"):
        scaled = function(real) / float(result.scale[0])
    return np.clip(np.rint(np.nan_to_num(scaled)) + result.zero_point, -128, 127).astype(np.int8)

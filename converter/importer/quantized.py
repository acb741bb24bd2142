"""Programs quantized by torchao's PT2E flow: quantize and dequantize operators around float32 ones.

On activations they become quantize and dequantize nodes of the graph; unsigned values shift by 128 together with their
zero point. A range narrower than the type (0..127) is kept as scale and zero point alone: values beyond it, which the
program clips, still fit. On constants dequantizing is done at once, and the constant keeps its scales.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from edgenet.graph import Quantization

from .context import Importer
from .registry import Unsupported, handles
from .values import Constant, Value

SHIFTS = {torch.int8: 0, torch.uint8: 128}
"""What lies between a type's stored values and those of int8."""

ON_CONSTANTS = {"dequantize_per_tensor", "dequantize_per_channel"}
"""Operators whose handlers take constants."""


def register_operators() -> None:
    """Make torch know the operators of quantized programs, which it does not until a part of it is imported."""
    import torch.ao.quantization.fx._decomposed  # noqa: F401  # registers them


def _number(value: Any) -> float:
    return float(value.tensor) if isinstance(value, Constant) else float(value)


def quantization(a: Mapping[str, Any]) -> Quantization:
    """Scale and zero point of a per-tensor operator, for int8. Unsupported for other types and odd numbers."""
    if a["dtype"] not in SHIFTS:
        raise Unsupported(f"activations of {a['dtype']}; quantize them to int8 or uint8")
    scale, zero_point = _number(a["scale"]), int(_number(a["zero_point"])) - SHIFTS[a["dtype"]]
    if not (math.isfinite(scale) and scale > 0 and -128 <= zero_point <= 127):
        raise Unsupported("its scale or zero point is out of range; was the program calibrated?")
    return Quantization((scale,), zero_point)


@handles("quantize_per_tensor")
def quantize(importer: Importer, a: Mapping[str, Any]) -> Value:
    x, q = a["input"], quantization(a)
    attributes = {"inverse_scale": float(np.float32(1.0 / q.scale[0]))}
    return Value(importer.emit("quantize", {"x": x.name}, attributes, dtype="int8", quantization=q), x.axes)


@handles("dequantize_per_tensor")
def dequantize(importer: Importer, a: Mapping[str, Any]) -> Value | Constant:
    x = a["input"]
    if isinstance(x, Constant):
        scale, zero_point = _number(a["scale"]), _number(a["zero_point"])
        real = (x.tensor.double() - zero_point) * scale
        return Constant(real.float(), x.name, torch.tensor([scale]) if zero_point == 0 else None)
    if importer.graph.tensors[x.name].quantization != quantization(a):
        raise Unsupported("it reads values that were quantized with another scale or zero point")
    return Value(importer.emit("dequantize", {"x": x.name}), x.axes)


@handles("dequantize_per_channel")
def dequantize_per_channel(importer: Importer, a: Mapping[str, Any]) -> Constant:
    x = a["input"]
    if not isinstance(x, Constant):
        raise Unsupported("only constants are quantized per channel; quantize activations per tensor")
    scales, zero_points = (
        value.tensor.double() if value is not None else None for value in (a["scales"], a["zero_points"])
    )
    assert scales is not None, "the operator's schema demands scales"
    sizes = [-1 if axis == a["axis"] else 1 for axis in range(x.tensor.dim())]
    shifted = x.tensor.double() - (0 if zero_points is None else zero_points.reshape(sizes))
    symmetric = zero_points is None or not bool(zero_points.any())
    kept = scales if symmetric and a["axis"] == 0 else None
    return Constant((shifted * scales.reshape(sizes)).float(), x.name, kept)

"""Attributes of int8 nodes from the scales of their tensors, with gradients: multipliers, clamps, padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from edgenet.converter.quantize.lowering import clamp_codes
from edgenet.graph import Node, Quantization

Scale = Callable[[str], Tensor]
"""float64 scale of an int8 tensor by name."""

RESCALING = ("mean", "avg_pool2d", "adaptive_avg_pool2d", "resize")


def live_attributes(node: Node, origin: Node | None, scale: Scale, result: Quantization) -> dict[str, Any]:
    """The attributes of an int8 node, or of a quantize node, that depend on scales; as `quantize.lowering` writes them.

    `origin` is the float32 node that it comes from, `result` the quantization of its output. Multipliers are float64
    tensors, to be rounded to float32 where they are used. Layers have theirs from `layer_attributes`.
    """
    found: dict[str, Any] = {}
    if origin is not None and "activation" in origin.attributes:
        found = clamp_codes(origin.attributes["activation"], result)
    out = scale(node.output)
    if node.operation == "quantize":
        found["inverse_scale"] = 1.0 / out
    elif node.operation in ("add", "sub"):
        found["multiplier_a"] = scale(node.inputs["a"]) / out
        found["multiplier_b"] = scale(node.inputs["b"]) / out
    elif node.operation == "mul":
        found["multiplier"] = scale(node.inputs["a"]) * scale(node.inputs["b"]) / out
    elif node.operation == "concat":
        found["multipliers"] = [scale(name) / out for name in node.inputs.values()]
    elif node.operation in RESCALING and "multiplier" in node.attributes:
        found["multiplier"] = scale(node.inputs["x"]) / out
    elif node.operation == "pad":
        value = node.attributes.get("value", 0.0)
        found["quantized_value"] = int(np.clip(np.rint(value / result.scale[0]) + result.zero_point, -128, 127))
    return found


def layer_attributes(
    node: Node, origin: Node, scale: Scale, result: Quantization | None
) -> tuple[dict[str, Any], Tensor | float]:
    """(attributes that depend on scales, real size of one unit of the result) of an int8 layer.

    `result` is the quantization of its output, None for a layer that writes float32.
    """
    activation = origin.attributes.get("activation")
    swish = activation is not None and activation["kind"] == "hardswish"
    step = 1.0 if swish or result is None else scale(node.output)
    found: dict[str, Any] = {}
    if "residual" in node.inputs:
        found["residual_multiplier"] = scale(node.inputs["residual"]) / step
    if result is not None and swish:
        found["output_multiplier"] = 1 / (6 * scale(node.output))
    elif result is not None:
        found |= clamp_codes(activation, result)
    return found, step

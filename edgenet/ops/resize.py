"""Spatial resizing, nearest and bilinear, with torch's coordinates.

Source coordinate of output index i (all in float32): nearest floor(i * ratio); bilinear (i + 0.5) * ratio - 0.5, not
below 0, or i * (N - 1) / (n - 1) with align_corners. ratio is 1 / scale where a scale is given, else N / n.
int8 bilinear: r0 = a*(1-wx) + b*wx, r1 = c*(1-wx) + d*wx, f = (r0*(1-wy) + r1*wy) * multiplier, every step rounded
to float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgenet.graph import Node, Tensor
from edgenet.ops.arithmetic import centered, requantize
from edgenet.ops.base import Attribute, Cost, Operation, OperationError, element_count, memory_cost
from edgenet.ops.conv import rank4
from edgenet.ops.elementwise import MULTIPLIER, Q_RANGE


def source_positions(node: Node, axis: int, size: int, out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each output index of a spatial axis (0 height, 1 width): lower and upper index, weight of the upper."""
    a, index = node.attributes, np.arange(out, dtype=np.float32)
    scale = a["scale"][axis] if a["scale"] else None
    ratio = np.float32(1.0 / scale if scale else size / out)
    if a["mode"] == "nearest":
        low = np.minimum(np.floor(index * ratio).astype(np.intp), size - 1)
        return low, low, np.zeros(out, np.float32)
    if a["align_corners"]:
        position = index * np.float32((size - 1) / (out - 1) if out > 1 else 0.0)
    else:
        position = np.maximum((index + np.float32(0.5)) * ratio - np.float32(0.5), np.float32(0))
    low = np.minimum(np.floor(position).astype(np.intp), size - 1)
    return low, np.minimum(low + 1, size - 1), position - low.astype(np.float32)


class Resize(Operation):
    """Nearest or bilinear resize of H and W to `size`, or by `scale`."""

    name = "resize"
    dtypes = ("float32", "int8")
    attributes = {
        "mode": Attribute("string", required=True, choices=("nearest", "bilinear")),
        "align_corners": Attribute("bool", False),
        "size": Attribute("ints", None, nullable=True, length=2, minimum=1, maximum=65535),
        "scale": Attribute("floats", None, nullable=True, length=2, minimum=1e-4, maximum=1e4),
        "multiplier": MULTIPLIER,
        **Q_RANGE,
    }

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        batch, height, width, channels = rank4(node, inputs["x"])
        size, scale = node.attributes["size"], node.attributes["scale"]
        if size is None and scale is None:
            raise OperationError("resize needs size or scale.")
        out = size or [math.floor(height * scale[0]), math.floor(width * scale[1])]
        if min(out) < 1:
            raise OperationError("resize leaves no output.")
        return batch, out[0], out[1], channels

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        x, bilinear = inputs["x"], node.attributes["mode"] == "bilinear"
        if x.dtype != output.dtype or (not bilinear and x.quantization != output.quantization):
            raise OperationError("resize keeps the dtype, and nearest resize the quantization.")
        if bilinear and x.dtype == "int8" and node.attributes.get("multiplier") is None:
            raise OperationError("an int8 bilinear resize needs multiplier.")

    def cost(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> Cost:
        return memory_cost(
            inputs, output, 8 * element_count(output.shape) if node.attributes["mode"] == "bilinear" else 0
        )

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        x = arrays["x"]
        top, bottom, wy = source_positions(node, 0, x.shape[1], output.shape[1])
        left, right, wx = source_positions(node, 1, x.shape[2], output.shape[2])
        if node.attributes["mode"] == "nearest":
            return np.ascontiguousarray(x[:, top][:, :, left])
        real = (centered(x, types["x"]) if x.dtype == np.int8 else x).astype(np.float32)
        wy, wx, one = wy[:, None, None], wx[:, None], np.float32(1)
        upper, lower = real[:, top], real[:, bottom]
        r0 = upper[:, :, left] * (one - wx) + upper[:, :, right] * wx
        r1 = lower[:, :, left] * (one - wx) + lower[:, :, right] * wx
        result = r0 * (one - wy) + r1 * wy
        if x.dtype != np.int8:
            return result
        return requantize(result * np.float32(node.attributes["multiplier"]), output, node.attributes)

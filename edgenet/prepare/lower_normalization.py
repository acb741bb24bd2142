"""Lowerings of softmax, layer normalization, local response normalization, and resizing."""

from __future__ import annotations

import math

import numpy as np

from edgenet.graph import Node
from edgenet.ops.resize import source_positions
from edgenet.prepare.lower_elementwise import float_operand, int8_output
from edgenet.prepare.lower_movement import UNIT_BYTES, Address, element_bytes, permute_array
from edgenet.prepare.lowering import Lowering, lowers

UNIT_ELEMENTS = 4096
"""Elements that a unit normalizes, about."""


def _softmax_rows(node: Node, lowering: Lowering, x: Address, y: Address, rows: int, length: int) -> None:
    name = f"f32_{node.operation}"
    lowering.step(name, rows, max(1, UNIT_ELEMENTS // length), x=x, y=y, length=length)


@lowers("softmax", "log_softmax")
def softmax(node: Node, lowering: Lowering) -> None:
    """Over the last axis; another axis is moved last and back by permuted copies."""
    x, shape = node.inputs["x"], lowering.shape(node.inputs["x"])
    axis, length = node.attributes["axis"], shape[node.attributes["axis"]]
    rows, inner = lowering.size(x) // length, math.prod(shape[axis + 1 :])
    if inner == 1:
        _softmax_rows(node, lowering, lowering.read(x), lowering.write(node.output), rows, length)
        return
    size = lowering.size(x) * 4
    moved, result = lowering.temporary(size), lowering.temporary(size)
    outer = rows // inner
    permute_array(lowering, lowering.read(x), lowering.write(moved), (outer, length, inner), [0, 2, 1], 4)
    _softmax_rows(node, lowering, lowering.read(moved), lowering.write(result), rows, length)
    out = lowering.write(node.output)
    permute_array(lowering, lowering.read(result), out, (outer, inner, length), [0, 2, 1], 4)


@lowers("layer_norm")
def layer_norm(node: Node, lowering: Lowering) -> None:
    """Over the last axis."""
    x, length = node.inputs["x"], lowering.shape(node.inputs["x"])[-1]

    def parameter(role: str, default: float) -> Address:
        if role in node.inputs:
            return float_operand(lowering, node.inputs[role])
        return lowering.packed((role, default, length), lambda: np.full(length, default, np.float32))

    lowering.step(
        "f32_layer_norm",
        lowering.size(x) // length,
        max(1, UNIT_ELEMENTS // length),
        x=lowering.read(x),
        y=lowering.write(node.output),
        weight=parameter("weight", 1.0),
        bias=parameter("bias", 0.0),
        length=length,
        epsilon=node.attributes["epsilon"],
    )


@lowers("local_response_norm")
def local_response_norm(node: Node, lowering: Lowering) -> None:
    """Over channels, the last axis."""
    x, a = node.inputs["x"], node.attributes
    channels, size = lowering.shape(x)[-1], a["size"]
    squares_bytes = -(-(channels + size + 2 * lowering.target.lanes) * 4 // 64) * 64
    lowering.step(
        "f32_local_response_norm",
        lowering.size(x) // channels,
        max(1, UNIT_ELEMENTS // channels),
        x=lowering.read(x),
        y=lowering.write(node.output),
        scratch=lowering.scratch(squares_bytes),
        squares_bytes=squares_bytes,
        channels=channels,
        size=size,
        before=size // 2,
        scale=a["alpha"] / size,
        beta=a["beta"],
        k=a["k"],
    )


@lowers("resize")
def resize(node: Node, lowering: Lowering) -> None:
    """Nearest: runs of bytes by tables of offsets. Bilinear: four neighbours and their weights."""
    x = node.inputs["x"]
    images, height, width, channels = lowering.shape(x)
    _, out_h, out_w, _ = lowering.shape(node.output)
    pixel = channels * element_bytes(lowering, x)
    top, bottom, wy = source_positions(node, 0, height, out_h)
    left, right, wx = source_positions(node, 1, width, out_w)
    key = (node.operation, *sorted((k, str(v)) for k, v in node.attributes.items()), height, width, out_h, out_w, pixel)

    def offsets(name: str, *indices: np.ndarray, stride: int) -> Address:
        pairs = np.ascontiguousarray(np.stack(indices, axis=-1).astype(np.int64) * stride)
        return lowering.packed((name, *key), lambda: pairs)

    def weights(name: str, upper: np.ndarray) -> Address:
        pairs = np.stack([np.float32(1) - upper, upper], axis=-1).astype(np.float32)
        return lowering.packed((name, *key), lambda: pairs)

    common = {
        "x": lowering.read(x),
        "y": lowering.write(node.output),
        "image_stride": height * width * pixel,
        "out_height": out_h,
        "out_width": out_w,
    }
    grain = max(1, UNIT_BYTES // (out_w * pixel))
    if node.attributes["mode"] == "nearest":
        lowering.step(
            "any_gather",
            images * out_h,
            grain,
            **common,
            rows=offsets("rows", top, stride=width * pixel),
            columns=offsets("columns", left, stride=pixel),
            run=pixel,
        )
        return
    slots = {}
    integer = lowering.dtype(x) == "int8"
    if integer:
        zero, low, high = int8_output(lowering, node.output, node.attributes)
        slots = {
            "x_zero": lowering.zero_point(x),
            "zero": zero,
            "multiplier": node.attributes["multiplier"],
            "low": low,
            "high": high,
        }
    lowering.step(
        "s8_bilinear" if integer else "f32_bilinear",
        images * out_h,
        grain,
        **common,
        rows=offsets("row pairs", top, bottom, stride=width * pixel),
        row_weights=weights("row weights", wy),
        columns=offsets("column pairs", left, right, stride=pixel),
        column_weights=weights("column weights", wx),
        channels=channels,
        **slots,
    )

"""Lowering of linear layers and pointwise convolutions in float32: a matrix product over pixels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from edgenet.graph import Node
from edgenet.kernels.table_float import VECTOR_STREAMS, gemm_tile, wide_tile
from edgenet.prepare import lower_int8
from edgenet.prepare.lowering import Lowering, activation_bounds, lowers
from edgenet.prepare.partition import partition
from edgenet.prepare.plan import Value

HARDSWISH = 1
"""Activation code of the kernels' epilogue (see kernels.epilogue_f32)."""


def _panels(channels: int, width: int, lanes: int, wide: bool) -> int:
    """Number of panels; `wide`: see `pack_panels`."""
    joined = wide and channels > width and 0 < channels % width <= lanes
    return -(-channels // width) - joined


def pack_panels(
    weight: np.ndarray, bias: np.ndarray, width: int, lanes: int, half: int = 0, wide: bool = False
) -> np.ndarray:
    """Weights [O, K] and bias [O] as panels [bias row, K rows][width]; the last is as many vectors wide as it needs.

    Last channels that fit in `half` lanes have a panel of that width instead of a vector. `wide`: those that fit in a
    vector belong to the panel before (see `table_float.wide_tile`).
    """
    channels, depth = weight.shape
    parts = []
    rest = channels % lanes
    borders = [*range(0, channels, width), channels]
    if wide and len(borders) > _panels(channels, width, lanes, wide) + 1:
        del borders[-2]
    if 0 < rest <= half and channels - rest > borders[-2]:
        borders.insert(-1, channels - rest)
    for first, last in pairwise(borders):
        count = last - first
        padded = half if count <= half else -(-count // lanes) * lanes
        panel = np.zeros((depth + 1, padded), np.float32)
        panel[0, :count] = bias[first:last]
        panel[1:, :count] = weight[first:last].T
        parts.append(panel.ravel())
    return np.concatenate(parts)


def bias_of(node: Node, lowering: Lowering, channels: int) -> np.ndarray:
    """The bias of a float32 layer, zeros when it has none."""
    return lowering.float_constant(node.inputs["bias"]) if "bias" in node.inputs else np.zeros(channels, np.float32)


def fused_activation(node: Node) -> tuple[float, float, int]:
    """Bounds and activation code of a layer; `prepare.fusion` has split off what the epilogue does not have."""
    activation = node.attributes["activation"]
    if activation is not None and activation["kind"] == "hardswish":
        return -np.inf, np.inf, HARDSWISH
    return *activation_bounds(activation), 0


def common_slots(node: Node, lowering: Lowering, channels: int) -> dict[str, Value]:
    """Slots of output, residual and activation."""
    low, high, code = fused_activation(node)
    residual = node.inputs.get("residual")
    return {
        "y": lowering.write(node.output),
        "y_stride": lowering.pixel_bytes(node.output),
        "residual": lowering.read(residual) if residual else 0,
        "residual_stride": channels * 4 if residual else 0,
        "low": low,
        "high": high,
        "activation": code,
    }


def matrix_product(node: Node, lowering: Lowering, pixels: int) -> None:
    """Steps of y = activation(x @ weight.T + bias + residual) over `pixels` rows."""
    weight = node.inputs["weight"]
    channels, depth = lowering.shape(weight)[0], lowering.shape(weight)[-1]
    lanes = lowering.target.lanes
    height, vectors = gemm_tile(lowering.target)
    width = vectors * lanes
    half = lowering.target.narrow_lanes % lanes if pixels > 1 and not lowering.target.has_wide_pipelines else 0
    wide = wide_tile(lowering.target) is not None and pixels > 1

    def make() -> np.ndarray:
        matrix = lowering.float_constant(weight).reshape(channels, depth)
        return pack_panels(matrix, bias_of(node, lowering, channels), width, lanes, half, wide)

    panels, size = _panels(channels, width, lanes, wide), -(-channels // lanes) * lanes * depth * 4
    low, high, code = fused_activation(node)
    residual = node.inputs.get("residual")
    slots = {
        "x": lowering.read(node.inputs["x"]),
        "y": lowering.write(node.output),
        "residual": lowering.read(residual) if residual else 0,
        "weights": lowering.packed(("panels", weight, node.inputs.get("bias"), width, half, wide), make, size),
        "depth": depth,
        "channels": channels,
        "low": low,
        "high": high,
        "activation": code,
    }
    if pixels == 1:
        groups, work = -(-panels // VECTOR_STREAMS), depth * VECTOR_STREAMS * vectors
        part = partition(1, 1, 1, groups, work, depth * 4, channels * depth * 4, lowering.threads, most_pixels=1)
        lowering.step(f"f32_gemv_{width}", units=part.units, span=part.span, **slots)
        return
    work = depth * height * vectors
    x_bytes, weights_bytes = pixels * depth * 4, channels * depth * 4
    part = partition(
        pixels, height, height - 1, panels, work, x_bytes, weights_bytes, lowering.threads, cache=lowering.cache
    )
    lowering.step(
        f"f32_pw_{height}x{width}",
        units=part.units,
        x_stride=lowering.pixel_bytes(node.inputs["x"]),
        y_stride=lowering.pixel_bytes(node.output),
        residual_stride=channels * 4 if residual else 0,
        pixels=pixels,
        halves=int(half > 0),
        **part.slots(),
        **slots,
    )


@lowers("linear")
def linear(node: Node, lowering: Lowering) -> None:
    """Linear layer over the last axis; int8 goes to `lower_int8`."""
    if lowering.dtype(node.inputs["x"]) == "int8":
        lower_int8.linear(node, lowering)
        return
    shape = lowering.shape(node.inputs["x"])
    matrix_product(node, lowering, int(np.prod(shape[:-1], dtype=np.int64)))

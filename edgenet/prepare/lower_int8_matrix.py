"""Lowering of int8 matrix products, and what int8 layers share: packed weights, zero points, the epilogue's slots."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from edgenet.errors import EngineError
from edgenet.graph import Node
from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table_int8 import (
    HARDSWISH,
    PLAIN,
    RECTIFIED,
    RECTIFIED_ONES,
    gemm_tile,
    group_depth,
    halved,
    rectifies,
)
from edgenet.prepare.lowering import Lowering, activation_bounds
from edgenet.prepare.partition import partition
from edgenet.prepare.plan import Packed, Value

SCRATCH_BYTES = 128 * 1024
"""Pixels, widened or gathered, that a thread keeps at hand."""


def folded_bias(node: Node, lowering: Lowering, weight: np.ndarray) -> np.ndarray:
    """int32 bias minus the input's zero point (as it lies in memory) times the sum of each filter [O, ...]."""
    sums = np.add.reduce(weight.reshape(weight.shape[0], -1), axis=1, dtype=np.int32).astype(np.int64)
    bias = lowering.constant(node.inputs["bias"]).astype(np.int64) - lowering.zero_point(node.inputs["x"]) * sums
    return bias.astype(np.int32)


def is_rectified(node: Node, lowering: Lowering) -> bool:
    """Whether an int8 layer's sums may be scaled without conversion to floating point: RECTIFIED.

    Its results then are clamped at the zero point, as storing them as bytes does, and no multiplier is negative. A sum
    that begins at the bits of the float32 2**23 and its bias is, as a float32, 2**23 more than it should be. A
    multiply-add with minus 2**23 times the multiplier, which is exact, scales it and rounds once, as conversion and
    multiplication do. Negative sums come out wrong, but negative.
    """
    a, activation = node.attributes, node.attributes["activation"]
    if lowering.dtype(node.output) == "float32" or "residual" in node.inputs or activation is not None:
        return False
    bounds = lowering.zero_point(node.output), lowering.stored(a["q_min"]), lowering.stored(a["q_max"])
    multiplier = lowering.constant(node.inputs["multiplier"])
    if not rectifies(lowering.target) or bounds != (0, 0, 255) or not ((multiplier >= 0) & (multiplier < 0.999)).all():
        return False
    least, greatest = lowering.once(("sums", *_constants(node, lowering)), lambda: _bounds_of_sums(node, lowering))
    return greatest < RECTIFIED_ONES and least > -(1 << 30)


def sum_ranges(weight: np.ndarray, lowering: Lowering) -> tuple[np.ndarray, np.ndarray]:
    """The least and greatest sums of products of each filter [O, ...] and values as they lie in memory, int64."""
    matrix = weight.reshape(len(weight), -1)
    above = np.maximum(matrix, 0).sum(axis=1, dtype=np.int64)
    below = np.minimum(matrix, 0).sum(axis=1, dtype=np.int64)
    low, high = lowering.stored(-128), lowering.stored(127)
    return low * above + high * below, high * above + low * below


def _bounds_of_sums(node: Node, lowering: Lowering) -> tuple[int, int]:
    """The least and the greatest that a layer's sums, bias included, could be."""
    weight = lowering.constant(node.inputs["weight"])
    bias, (least, greatest) = folded_bias(node, lowering, weight), sum_ranges(weight, lowering)
    return int((bias + least).min(initial=0)), int((bias + greatest).max(initial=0))


def first_sums(node: Node, lowering: Lowering, weight: np.ndarray) -> np.ndarray:
    """What the sums of filters [O, ...] begin at: `folded_bias`, and the bits of RECTIFIED_ONES if `is_rectified`."""
    bias = folded_bias(node, lowering, weight)
    return bias + np.float32(RECTIFIED_ONES).view(np.int32) if is_rectified(node, lowering) else bias


def content(node: Node, lowering: Lowering) -> tuple[Hashable, ...]:
    """What a layer's packed weights are made from: its constants, the zero point of its input, what sums begin at."""
    return (*_constants(node, lowering), is_rectified(node, lowering))


def _constants(node: Node, lowering: Lowering) -> tuple[Hashable, ...]:
    return (*(node.inputs[role] for role in ("weight", "bias", "multiplier")), lowering.zero_point(node.inputs["x"]))


def order_groups(weight: np.ndarray, target: InstructionSet) -> np.ndarray:
    """Vectors of groups [..., lanes, group] in the order of the instruction set's products (see kernels.simd_int8)."""
    if not halved(target):
        return weight
    lanes, group = weight.shape[-2:]
    halves = weight.reshape(*weight.shape[:-1], 2, group // 2)
    return np.moveaxis(halves, -2, -3).reshape(*weight.shape[:-2], lanes, group)


def pack_panels(
    matrix: np.ndarray,
    bias: np.ndarray,
    multiplier: np.ndarray,
    width: int,
    target: InstructionSet,
    half: int = 0,
    narrow: bool = False,
    group: int = 0,
) -> np.ndarray:
    """Weights [O, K] as panels [bias][multiplier][K / group][width][group], bytes; `width` channels, fewer in the last.

    Last channels that fit in `half` lanes have a panel of that width instead of a vector. Weights are int8 if `narrow`
    or if a `group` (that of the instruction set, or as given) is four, else int16; K is filled up with zeros to a
    multiple of it.
    """
    channels, depth = matrix.shape
    lanes, group = target.lanes, group or group_depth(target)
    kind = np.dtype(np.int8 if narrow or group == 4 else np.int16)
    padded, groups = -(-channels // lanes) * lanes, -(-depth // group)
    full = padded
    if 0 < channels % lanes <= half:
        full = channels // lanes * lanes
        padded = full + half
    head = np.zeros((2, padded), np.int32)
    head[0, :channels], head[1, :channels] = bias, multiplier.astype(np.float32).view(np.int32)
    if (padded, groups * group) == matrix.shape:
        body = np.ascontiguousarray(matrix, kind)
    else:
        body = np.zeros((padded, groups * group), kind)
        body[:channels, :depth] = matrix
    words = body.view({2: np.int16, 4: np.int32}[group * kind.itemsize])
    channel_bytes = 8 + groups * words.itemsize
    result = np.empty(padded * channel_bytes, np.uint8)
    whole = full // width * width
    for first, last, size in ((0, whole, width), (whole, full, full - whole), (full, padded, padded - full)):
        if first < last:
            panels = result[first * channel_bytes : last * channel_bytes].reshape(-1, size * channel_bytes)
            heads = panels[:, : 8 * size].view(np.int32).reshape(-1, 2, size)
            heads[...] = head[:, first:last].reshape(2, -1, size).swapaxes(0, 1)
            bodies = panels[:, 8 * size :].view(words.dtype).reshape(-1, groups, size)
            bodies[...] = words[first:last].reshape(-1, size, groups).swapaxes(1, 2)
            if halved(target):
                vectors = panels[:, 8 * size :].view(kind).reshape(len(panels), -1, lanes, group)
                vectors[...] = order_groups(vectors.copy(), target)
    return result


def epilogue(node: Node, lowering: Lowering, channels: int) -> dict[str, Value]:
    """Slots of the output, the residual, and what the kernels' epilogue does.

    Values that cannot reach 2**31 (`bound` is in shares of it) are clamped only where they are stored.
    """
    a, activation = node.attributes, node.attributes["activation"]
    as_float = lowering.dtype(node.output) == "float32"
    residual = node.inputs.get("residual")
    zero = 0 if as_float else lowering.zero_point(node.output)
    low, high = activation_bounds(activation) if as_float else (a["q_min"], a["q_max"])
    hardswish = activation is not None and activation["kind"] == "hardswish"
    most = float(np.abs(lowering.constant(node.inputs["multiplier"])).max(initial=0.0))
    bound = most + (255 / 2**31 * a["residual_multiplier"] if residual else 0.0)
    bound *= 6 * a["output_multiplier"] if hardswish else 1.0
    if not as_float and bound < 0.999:
        low, high = -np.inf, np.inf
    elif not as_float:
        low, high = lowering.stored(int(low)) - zero, lowering.stored(int(high)) - zero
    plain = not (as_float or residual or hardswish) and most < 0.999
    if (residual or hardswish) and not np.isfinite(np.float32(max(most, 1.0)) ** 2 * np.float32(2.0**64)):
        raise EngineError(f"{node.name}: a multiplier is too large for float32 arithmetic.")
    return {
        "y": lowering.write(node.output),
        "y_stride": channels * (4 if as_float else 1),
        "residual": lowering.read(residual) if residual else 0,
        "plain": RECTIFIED if plain and is_rectified(node, lowering) else int(plain),
        "smallest": lowering.stored(a["q_min"]),
        "largest": lowering.stored(a["q_max"]),
        "low": low,
        "high": high,
        "zero": zero,
        "residual_zero": lowering.zero_point(residual) if residual else 0,
        "residual_multiplier": a["residual_multiplier"] if residual else 0.0,
        "output_multiplier": a["output_multiplier"] if hardswish else 0.0,
        "activation": HARDSWISH if hardswish else PLAIN,
        "as_float": int(as_float),
    }


def scratch_slots(lowering: Lowering, stride: int, rows: int) -> dict[str, Value]:
    """Slots of a thread's scratch: `rows` widened rows of `stride` bytes."""
    size = -(-stride * rows // 64) * 64
    return {"scratch": lowering.scratch(size), "scratch_stride": stride}


def packed_weights(node: Node, lowering: Lowering, half: int = 0, narrow: bool = False) -> Packed:
    """The panels of a matrix product (`half`, `narrow`: see `pack_panels`)."""
    weight = node.inputs["weight"]
    channels, depth = lowering.shape(weight)[0], lowering.shape(weight)[-1]
    lanes, group = lowering.target.lanes, group_depth(lowering.target)
    width = gemm_tile(lowering.target)[2] * lanes

    def make() -> np.ndarray:
        matrix = lowering.constant(weight).reshape(channels, depth)
        multiplier = lowering.constant(node.inputs["multiplier"])
        bias = first_sums(node, lowering, matrix)
        return pack_panels(matrix, bias, multiplier, width, lowering.target, half, narrow)

    return lowering.packed(("s8_panels", *content(node, lowering), width, lanes, group, half, narrow), make)


def matrix_product(node: Node, lowering: Lowering, pixels: int) -> None:
    """Step of y = requantized(x @ weight.T + bias) with residual and activation, over `pixels` rows."""
    weight = node.inputs["weight"]
    channels, depth = lowering.shape(weight)[0], lowering.shape(weight)[-1]
    group = group_depth(lowering.target)
    height, second, vectors = gemm_tile(lowering.target)
    width = vectors * lowering.target.lanes
    panels = -(-channels // width)
    work = -(-depth // group) * height * vectors
    stride, most = 0, 1 << 30
    if group != 4:
        stride = -(-depth // 32) * 64 + 64
        most = SCRATCH_BYTES // stride
        if pixels == 1:
            _matrix_vector(node, lowering, stride)
            return
    part = partition(pixels, height, second, panels, work, pixels * depth, channels * depth, lowering.threads, most)
    lowering.step(
        f"s8_pw_{height}x{width}",
        part.units,
        1,
        x=lowering.read(node.inputs["x"]),
        x_stride=depth,
        weights=packed_weights(node, lowering, lowering.target.narrow_lanes % lowering.target.lanes),
        **scratch_slots(lowering, stride, part.most_pixels(pixels)),
        pixels=pixels,
        depth=depth,
        groups=-(-depth // group),
        channels=channels,
        **part.slots(),
        **epilogue(node, lowering, channels),
    )


def _matrix_vector(node: Node, lowering: Lowering, stride: int) -> None:
    """Step of `matrix_product` of one pixel, which takes `stride` bytes when widened."""
    channels, depth = (lowering.shape(node.inputs["weight"])[axis] for axis in (0, -1))
    vectors = gemm_tile(lowering.target)[2]
    width, groups = vectors * lowering.target.lanes, -(-depth // group_depth(lowering.target))
    part = partition(
        1, 1, 1, -(-channels // width), groups * vectors, depth, channels * depth, lowering.threads, most_pixels=1
    )
    slots = epilogue(node, lowering, channels)
    del slots["y_stride"]
    lowering.step(
        f"s8_gemv_{width}",
        part.units,
        1,
        x=lowering.read(node.inputs["x"]),
        weights=packed_weights(node, lowering, narrow=True),
        scratch=lowering.scratch(stride),
        depth=depth,
        groups=groups,
        channels=channels,
        span=part.span,
        **slots,
    )

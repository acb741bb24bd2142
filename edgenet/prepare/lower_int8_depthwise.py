"""Lowering of int8 depthwise convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgenet.graph import Node
from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table_int8 import (
    ACTIVATIONS,
    DEPTHWISE_BANDS,
    HARDSWISH,
    NARROW_ROW,
    PLAIN,
    RECTIFIED,
    RECTIFIED_ONES,
    block_order,
    block_vectors,
    depthwise_whole_blocks,
    depthwise_wide_columns,
    group_depth,
    groups_columns,
    half_block_rows,
    interleaves_in_registers,
    plane_steps,
)
from edgenet.prepare.lower_int8_matrix import content, epilogue, first_sums, order_groups
from edgenet.prepare.lower_int8_window import geometry, zero_points
from edgenet.prepare.lowering import Lowering

_MOST_NEAR = 24 << 10
"""Bytes of planes that stay in the first-level cache: all of a unit, where these are filled all at once."""
_LEAST_UNITS = 4
"""Units of each thread, if there are several: what one has more than the others is waited for."""
_MOST_UNEVEN = 1.1
"""The rows of the largest part of an image / those of a part on average."""


def pack_depthwise(
    weight: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, target: InstructionSet, band: int, stride: int
) -> np.ndarray:
    """Weights [C, KH, KW] as [block of lanes][bias, multiplier, band rows][groups of rows][KW][lanes][group], bytes.

    Output row r of the band has its taps in the input rows from r * stride on.
    """
    channels, height, width = weight.shape
    lanes, group = target.lanes, group_depth(target)
    blocks = -(-channels // lanes)
    groups = -(-((band - 1) * stride + height) // group)
    head = np.zeros((2, blocks * lanes), np.int32)
    head[0, :channels], head[1, :channels] = bias, multiplier.astype(np.float32).view(np.int32)
    taps = np.zeros((blocks * lanes, band, groups * group, width), np.int8 if group == 4 else np.int16)
    for r in range(band):
        taps[:channels, r, r * stride : r * stride + height] = weight
    taps = taps.reshape(blocks, lanes, band, groups, group, width).transpose(0, 2, 3, 5, 1, 4)
    taps = order_groups(taps, target)
    heads = head.reshape(2, blocks, lanes).swapaxes(0, 1)
    parts = [np.ascontiguousarray(part).view(np.uint8).reshape(blocks, -1) for part in (heads, taps)]
    return np.concatenate(parts, axis=1)


def pack_blocks(
    weight: np.ndarray,
    bias: np.ndarray,
    multiplier: np.ndarray,
    target: InstructionSet,
    band: int,
    stride: int,
    by_columns: bool,
    vectors: int,
    together: int,
    activation: int,
) -> np.ndarray:
    """Weights [C, KH, KW] as [block][head][band rows][vector][groups of rows][KW][lanes][group], bytes.

    A head is bias and multiplier, and minus RECTIFIED_ONES times that if the activation is RECTIFIED.
    A block is so many `vectors`, whose channels `table_int8.block_order` tells. The last block ends with the last
    channel. Where rows go `together`, a block has fewer channels, each of which comes so many times.
    With `by_columns` the last group holds groups of columns of the last row.
    """
    channels, height, width = weight.shape
    lanes, group = target.lanes, group_depth(target)
    block = lanes * vectors // together
    blocks = -(-channels // block)
    groups = -(-((band - 1) * stride + height) // group)
    order = np.array(block_order(target, vectors)) % block
    starts = np.minimum(np.arange(blocks) * block, channels - block)
    order = (starts[:, None, None] + order).reshape(-1)
    scale = multiplier[order].astype(np.float32)
    head = [bias[order], scale.view(np.int32)]
    if activation == RECTIFIED:
        head.append((np.float32(-RECTIFIED_ONES) * scale).view(np.int32))
    heads = np.stack(head).reshape(len(head), blocks, -1).swapaxes(0, 1)
    taps = np.zeros((len(order), band, groups * group, width), np.int8 if group == 4 else np.int16)
    for r in range(band):
        taps[:, r, r * stride : r * stride + height] = weight[order]
    if by_columns:
        taps[:, 0, height - 1 :] = 0
        for column in range(width):
            taps[:, 0, height - 1 + column % group, column // group] = weight[order, -1, column]
    taps = taps.reshape(blocks, vectors, lanes, band, groups, group, width).transpose(0, 3, 1, 4, 6, 2, 5)
    taps = order_groups(taps, target)
    parts = [np.ascontiguousarray(part).view(np.uint8).reshape(blocks, -1) for part in (heads, taps)]
    return np.concatenate(parts, axis=1)


def depthwise(node: Node, lowering: Lowering) -> None:
    """Steps of a depthwise convolution: as many filters as channels, each of one channel."""
    a, target = node.attributes, lowering.target
    channels, height, width, _ = lowering.shape(node.inputs["weight"])
    size = (height, width, a["stride"][0], a["stride"][1])
    done, activation = 0, _activation(node, lowering, channels)
    known = size in DEPTHWISE_BANDS and list(a["dilation"]) == [1, 1]
    if known and interleaves_in_registers(target, size):  # which expects no more padding
        known = max(a["padding"][2:]) <= width // 2
    if known and activation is not None and lowering.shape(node.output)[2] >= depthwise_wide_columns(target) - 1:
        for first, done, name, vectors, together in _wide_steps(node, lowering, channels, size):
            _blocks(node, lowering, first, done, name, vectors, together, activation)
    if done < channels:
        _lanes(node, lowering, done)


def _wide_steps(
    node: Node, lowering: Lowering, channels: int, size: tuple[int, int, int, int]
) -> list[tuple[int, int, str, int, int]]:
    """Steps by the wide kernels: the channels from..to, "wide" or "half", vectors of a block, rows together.

    What comes behind them goes a vector at a time.
    """
    target, together = lowering.target, _half_block_rows(node, lowering, size)
    vectors = block_vectors(target)
    block, half = target.lanes * vectors, vectors // 2 if together == 1 else vectors
    rest = channels % block
    if together and target.lanes < rest <= block // 2 <= channels:
        wide = [(0, channels - rest, "wide", vectors, 1)] if channels > block else []
        return [*wide, (channels - block // 2, channels, "half", half, together)]
    name = "wide"
    if channels < block and together == 1:
        name, vectors = "half", half
    served = depthwise_whole_blocks(target, channels, size, vectors) * target.lanes * vectors
    return [(0, min(served, channels), name, vectors, 1)] if served else []


def _half_block_rows(node: Node, lowering: Lowering, size: tuple[int, int, int, int]) -> int:
    """Rows that the half blocks for this layer take together (see `table_int8.half_block_rows`); 0: there are none."""
    batch, rows, _, _ = lowering.shape(node.output)
    part, together = _rows_of_a_part(lowering, batch, rows), half_block_rows(lowering.target, size)
    return together if together < 2 or (part % 2 == 0 and rows % part == 0) else 0


def _activation(node: Node, lowering: Lowering, channels: int) -> int | None:
    """What the wide kernels for this layer do with scaled sums (`table_int8.ACTIVATIONS`); None where there are none.

    They convert to int32 before they clamp, so that no value may reach 2**31.
    """
    slots = epilogue(node, lowering, channels)
    if slots["plain"]:
        return RECTIFIED if slots["plain"] == RECTIFIED else PLAIN
    alone = slots["activation"] == HARDSWISH and not (slots["as_float"] or "residual" in node.inputs)
    most = float(np.abs(lowering.constant(node.inputs["multiplier"])).max(initial=0.0))
    return HARDSWISH if alone and 6 * most * node.attributes["output_multiplier"] < 0.999 else None


def _constants(node: Node, lowering: Lowering, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Taps [C, KH, KW], first sums and multiplier of the channels first..last-1."""
    weight = lowering.constant(node.inputs["weight"])[..., 0]
    bias = first_sums(node, lowering, weight)
    return weight[first:last], bias[first:last], lowering.constant(node.inputs["multiplier"])[first:last]


def _blocks(
    node: Node, lowering: Lowering, first: int, last: int, kind: str, vectors: int, together: int, activation: int
) -> None:
    """Step for the channels first..last-1, in blocks of so many `vectors`, by the wide kernels of this `kind`.

    `together`: rows that make up a block's vectors.
    """
    target, lanes, group = lowering.target, lowering.target.lanes, group_depth(lowering.target)
    all_channels, height, width, _ = lowering.shape(node.inputs["weight"])
    stride_y, stride_x = node.attributes["stride"]
    band = DEPTHWISE_BANDS[height, width, stride_y, stride_x]
    in_registers = interleaves_in_registers(target, (height, width, stride_y, stride_x))
    by_columns = in_registers and groups_columns(group, height, stride_x)

    def make() -> np.ndarray:
        return pack_blocks(
            *_constants(node, lowering, first, last), target, band, stride_y, by_columns, vectors, together, activation
        )

    division = (lanes, group, first, last, band, stride_y, vectors, together, activation)
    packed = lowering.packed(("s8_depthwise_blocks", *content(node, lowering), *division), make)
    batch, out_height, out_width, _ = lowering.shape(node.output)
    slots = geometry(node, lowering) | epilogue(node, lowering, all_channels)
    names = (
        "x",
        "image_stride",
        "row_stride",
        "pixel_stride",
        "height",
        "width",
        "top",
        "left",
        "out_height",
        "out_width",
    )
    blocks = -(-(last - first) * together // (lanes * vectors))
    part = _rows_of_a_part(lowering, batch, out_height)
    own: dict[str, Any] = {}
    if first:
        slots |= {"x": lowering.read(node.inputs["x"], first), "y": lowering.write(node.output, first)}
    if in_registers:
        units = batch * out_height // together * blocks
        own = {"part_rows": part if together == 2 else out_height}
    else:
        columns = (out_width - 1) * stride_x + width
        _, _, planes, _ = plane_steps(height, stride_y, band, group)
        stack = _bands_of_a_unit(-(-part // band), batch * -(-out_height // part) * blocks, lowering.threads)
        plane_bytes = columns * vectors * lanes * 4
        fitting = (planes + stack - 1) * plane_bytes <= _MOST_NEAR
        if out_width <= NARROW_ROW and fitting and lowering.threads > 1:  # rows may be in another thread's cache
            planes += stack - 1
        scratch = lowering.scratch(-(-plane_bytes * planes // 64) * 64)
        band *= stack
        units = batch * -(-out_height // part) * -(-part // band) * blocks
        own = {"scratch": scratch, "in_columns": columns, "planes": planes, "stack_rows": band, "part_rows": part}
    work = band * out_width * height * width * vectors
    lowering.step(
        f"s8_dw{height}x{width}s{stride_y}_{kind}{ACTIVATIONS[activation]}",
        units,
        max(1, min(1_500 // max(1, work), -(-units // (4 * lowering.threads)))),
        **{name: slots[name] for name in (*names, "y", "y_stride", "zero", "smallest", "largest", "output_multiplier")},
        outside=zero_points(lowering, node.inputs["x"], lanes * vectors),
        weights=packed,
        packed_bytes=packed.array.shape[1],
        blocks=blocks,
        channels=last - first,
        **own,
    )


def _bands_of_a_unit(bands: int, others: int, threads: int) -> int:
    """As many of a part's bands as leave every thread enough units, of which there are `others` to each."""
    most = bands
    while threads > 1 and most > 1 and others * -(-bands // most) < _LEAST_UNITS * threads:
        most -= 1
    return -(-bands // -(-bands // most))


def _rows_of_a_part(lowering: Lowering, batch: int, rows: int) -> int:
    """Rows of a part of an image, as many parts as there are threads for it, or all rows where parts would be uneven.

    A thread then has the same rows in other layers, and finds them in its cache.
    """
    parts = -(-lowering.threads // batch)
    part = -(-rows // parts)
    return part if part * parts <= _MOST_UNEVEN * rows else rows


def _lanes(node: Node, lowering: Lowering, first: int) -> None:
    """Step for the channels from `first` on, a vector at a time."""
    weight, a = node.inputs["weight"], node.attributes
    channels, height, width, _ = lowering.shape(weight)
    (stride_y, stride_x), (dilation_y, dilation_x) = a["stride"], a["dilation"]
    lanes, group = lowering.target.lanes, group_depth(lowering.target)
    fast = (height, width, stride_y, stride_x) in DEPTHWISE_BANDS and (dilation_y, dilation_x) == (1, 1)
    band = DEPTHWISE_BANDS[height, width, stride_y, stride_x] if fast else 1

    across = not fast and height * -(-width // group) < width * -(-height // group)

    def make() -> np.ndarray:
        taps, bias, multiplier = _constants(node, lowering, first, channels)
        return pack_depthwise(
            taps.swapaxes(1, 2) if across else taps, bias, multiplier, lowering.target, band, stride_y
        )

    key = ("s8_depthwise", *content(node, lowering), lanes, group, first, across, band, stride_y if band > 1 else 0)
    packed = lowering.packed(key, make)
    batch, out_height, out_width, _ = lowering.shape(node.output)
    blocks = -(-(channels - first) // lanes)
    reach, planes = width - 1, -(-((band - 1) * stride_y + height) // group)
    if across:
        reach, planes = group * ((width - 1) // group), height
    columns = (out_width - 1) * stride_x + reach * dilation_x + 1
    slots = geometry(node, lowering)
    scratch = -(-columns * planes * lanes * 4 // 64) * 64
    slots |= {
        "outside": zero_points(lowering, node.inputs["x"], lanes),
        "weights": packed,
        "packed_bytes": packed.array.shape[1],
        "scratch": lowering.scratch(scratch),
        "in_columns": columns,
        "channels": channels - first,
        **epilogue(node, lowering, channels),
    }
    if first:
        slots |= {"x": lowering.read(node.inputs["x"], first), "y": lowering.write(node.output, first)}
    units, work = batch * -(-out_height // band), band * out_width * height * width
    if fast:
        name, work = f"s8_dw{height}x{width}s{stride_y}", work * blocks
        for known in ("kernel_height", "kernel_width", "stride_y", "stride_x", "dilation_y", "dilation_x"):
            del slots[known]
    else:
        name, units = "s8_dw_any_across" if across else "s8_dw_any", units * blocks
        slots["blocks"] = blocks
    grain = max(1, min(1_500 // max(1, work), -(-units // (4 * lowering.threads))))
    lowering.step(name, units, grain, **slots)

"""Lowering of int8 depthwise convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgenet.graph import Node
from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table_int8 import (
    DEPTHWISE_BANDS,
    depthwise_whole_blocks,
    depthwise_wide_columns,
    group_depth,
    groups_columns,
    has_half_blocks,
    interleaves_in_registers,
    plane_steps,
)
from edgenet.prepare.lower_int8_matrix import HARDSWISH, content, epilogue, folded_bias, order_groups
from edgenet.prepare.lower_int8_window import geometry, zero_points
from edgenet.prepare.lowering import Lowering

_MOST_NEAR = 24 << 10
"""Bytes that the bands of a unit touch, if there are several: they stay in the first-level cache for the next block."""
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
    together: int,
) -> np.ndarray:
    """Weights [C, KH, KW] as [block][bias, multiplier][band rows][vector][groups of rows][KW][lanes][group], bytes.

    A block is `group` vectors; lane 4 * q + j of its vector k holds channel 4 * (group * q + k) + j. The last block
    ends with the last channel. Where rows go `together`, a block has fewer channels, each of which comes so many times.
    With `by_columns` the last group holds groups of columns of the last row.
    """
    channels, height, width = weight.shape
    lanes, group = target.lanes, group_depth(target)
    block = lanes * group // together
    blocks = -(-channels // block)
    groups = -(-((band - 1) * stride + height) // group)
    lane = np.arange(lanes)
    order = (4 * (group * (lane // 4) + np.arange(group)[:, None]) + lane % 4) % block
    starts = np.minimum(np.arange(blocks) * block, channels - block)
    order = (starts[:, None, None] + order).reshape(-1)
    head = np.stack([bias[order], multiplier[order].astype(np.float32).view(np.int32)]).reshape(2, blocks, -1)
    taps = np.zeros((len(order), band, groups * group, width), np.int8 if group == 4 else np.int16)
    for r in range(band):
        taps[:, r, r * stride : r * stride + height] = weight[order]
    if by_columns:
        taps[:, 0, height - 1 :] = 0
        for column in range(width):
            taps[:, 0, height - 1 + column % group, column // group] = weight[order, -1, column]
    taps = taps.reshape(blocks, group, lanes, band, groups, group, width).transpose(0, 3, 1, 4, 6, 2, 5)
    taps = order_groups(taps, target)
    parts = [np.ascontiguousarray(part).view(np.uint8).reshape(blocks, -1) for part in (head.swapaxes(0, 1), taps)]
    return np.concatenate(parts, axis=1)


def depthwise(node: Node, lowering: Lowering) -> None:
    """Steps of a depthwise convolution: as many filters as channels, each of one channel."""
    a, target = node.attributes, lowering.target
    channels, height, width, _ = lowering.shape(node.inputs["weight"])
    size = (height, width, a["stride"][0], a["stride"][1])
    done, kind = 0, _wide(node, lowering, channels)
    known = size in DEPTHWISE_BANDS and list(a["dilation"]) == [1, 1] and kind is not None
    if known and lowering.shape(node.output)[2] >= depthwise_wide_columns(target) - 1:
        block = target.lanes * group_depth(target)
        if _ends_with_half_a_block(node, lowering, channels, size):
            if channels > block:
                _blocks(node, lowering, 0, channels // block * block, f"_wide{kind}")
            _blocks(node, lowering, channels - block // 2, channels, f"_half{kind}", together=2)
            done = channels
        else:
            done = min(depthwise_whole_blocks(target, channels, size) * block, channels)
            if done:
                _blocks(node, lowering, 0, done, f"_wide{kind}")
    if done < channels:
        _lanes(node, lowering, done)


def _ends_with_half_a_block(node: Node, lowering: Lowering, channels: int, size: tuple[int, int, int, int]) -> bool:
    """Whether the last channels go by a half block (see `table_int8.has_half_blocks`): where rows go by pairs.

    A single vector takes less time by itself.
    """
    target = lowering.target
    block = target.lanes * group_depth(target)
    fits = target.lanes < channels % block <= block // 2 <= channels
    batch, rows, _, _ = lowering.shape(node.output)
    part = _rows_of_a_part(lowering, batch, rows)
    return has_half_blocks(target, size) and fits and part % 2 == 0 and rows % part == 0


def _wide(node: Node, lowering: Lowering, channels: int) -> str | None:
    """How the wide kernels that have this layer's epilogue are called; None where there are none.

    They convert to int32 before they clamp, so that no value may reach 2**31.
    """
    slots = epilogue(node, lowering, channels)
    if slots["plain"]:
        return ""
    alone = slots["activation"] == HARDSWISH and not (slots["as_float"] or "residual" in node.inputs)
    most = float(np.abs(lowering.constant(node.inputs["multiplier"])).max(initial=0.0))
    return "_hardswish" if alone and 6 * most * node.attributes["output_multiplier"] < 0.999 else None


def _constants(node: Node, lowering: Lowering, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Taps [C, KH, KW], bias and multiplier of the channels first..last-1."""
    weight = lowering.constant(node.inputs["weight"])[..., 0]
    bias = folded_bias(node, lowering, weight)
    return weight[first:last], bias[first:last], lowering.constant(node.inputs["multiplier"])[first:last]


def _blocks(node: Node, lowering: Lowering, first: int, last: int, kind: str, together: int = 1) -> None:
    """Step for the channels first..last-1, in blocks, by the wide kernels called `kind`.

    `together`: rows that make up a block's registers, 2 for half blocks.
    """
    target, lanes, group = lowering.target, lowering.target.lanes, group_depth(lowering.target)
    all_channels, height, width, _ = lowering.shape(node.inputs["weight"])
    stride_y, stride_x = node.attributes["stride"]
    band = DEPTHWISE_BANDS[height, width, stride_y, stride_x]
    in_registers = interleaves_in_registers(target, (height, width, stride_y, stride_x))
    by_columns = in_registers and groups_columns(group, height, stride_x)

    def make() -> np.ndarray:
        return pack_blocks(*_constants(node, lowering, first, last), target, band, stride_y, by_columns, together)

    key = ("s8_depthwise_blocks", *content(node, lowering), lanes, group, first, last, band, stride_y, together)
    packed = lowering.packed(key, make)
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
    blocks = -(-(last - first) * together // (lanes * group))
    part = _rows_of_a_part(lowering, batch, out_height)
    own: dict[str, Any] = {}
    if first:
        slots |= {"x": lowering.read(node.inputs["x"], first), "y": lowering.write(node.output, first)}
    if in_registers:
        units = batch * out_height // together * blocks
        own = {"part_rows": part if together == 2 else out_height}
    else:
        columns = (out_width - 1) * stride_x + width
        groups = -(-((band - 1) * stride_y + height) // group)
        _, each_band, each_group = plane_steps(band * stride_y, group)

        def interleaved(stack: int) -> int:
            """Bytes of the interleaved rows of so many bands."""
            return columns * ((stack - 1) * each_band + (groups - 1) * each_group + 1) * group * lanes * 4

        def near(stack: int) -> int:
            """Bytes that so many bands touch; each pixel of a block of channels lies in a line."""
            in_rows, out_rows = (stack * band - 1) * stride_y + height, stack * band
            return interleaved(stack) + 64 * (in_rows * slots["width"] + out_rows * out_width)

        stack = _bands_of_a_unit(-(-out_height // band), near, batch * blocks, lowering.threads)
        scratch = lowering.scratch(-(-interleaved(stack) // 64) * 64)
        band *= stack
        units = batch * -(-out_height // part) * -(-part // band) * blocks
        own = {"scratch": scratch, "in_columns": columns, "stack_rows": band, "part_rows": part}
    work = band * out_width * height * width * group
    lowering.step(
        f"s8_dw{height}x{width}s{stride_y}{kind}",
        units,
        max(1, min(1_500 // max(1, work), -(-units // (4 * lowering.threads)))),
        **{name: slots[name] for name in (*names, "y", "y_stride", "zero", "smallest", "largest", "output_multiplier")},
        outside=zero_points(lowering, node.inputs["x"], lanes * group),
        weights=packed,
        packed_bytes=packed.array.shape[1],
        blocks=blocks,
        channels=last - first,
        **own,
    )


def _bands_of_a_unit(bands: int, near: Callable[[int], int], others: int, threads: int) -> int:
    """As many of the bands as stay near and leave every thread enough units, of which there are `others` to a band."""
    most = bands
    while most > 1 and (near(most) > _MOST_NEAR or others * -(-bands // most) < _LEAST_UNITS * threads):
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

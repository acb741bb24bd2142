"""Lowerings of pooling and means: windows as tables of valid ranges, one table for rows and one for columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgenet.dtypes import aligned
from edgenet.graph import Node
from edgenet.prepare.lower_elementwise import int8_output
from edgenet.prepare.lower_movement import Address, element_bytes, permute_array
from edgenet.prepare.lowering import Lowering, lowers
from edgenet.prepare.plan import Operand, Packed

UNIT_WORK = 16384
"""Elements that a unit reads, about."""
_LEAST_IN_PARTS = 16384
"""Elements of an image from which on its mean takes two steps, the first of parts of its rows."""
_WINDOW_BYTES = 24
"""Bytes of a window in a table: three words of 64 bits."""


def strided_windows(
    size: int, out: int, kernel: int, stride: int, before: int, after: int, include_pad: bool
) -> np.ndarray:
    """Windows of average pooling along an axis, padding counted or not."""
    start = np.arange(out, dtype=np.int64) * stride - before
    first, end = np.maximum(start, 0), np.minimum(start + kernel, size)
    count = np.minimum(start + kernel, size + after) - start if include_pad else end - first
    return np.stack([first, np.maximum(first, end), count], axis=1)


def adaptive_windows(size: int, out: int) -> np.ndarray:
    """Windows floor(i * size / out) .. ceil((i + 1) * size / out)."""
    first, end = np.arange(out, dtype=np.int64) * size // out, -(-np.arange(1, out + 1, dtype=np.int64) * size // out)
    return np.stack([first, end, end - first], axis=1)


def _table(lowering: Lowering, out: int, make: Callable[..., np.ndarray], *how: int) -> Packed:
    """The table of the `out` windows that `make` makes of `how`: first valid index, end index and count of each."""
    return lowering.packed(("windows", make.__name__, *how), lambda: make(*how), out * _WINDOW_BYTES)


def _channel_block(lowering: Lowering, channels: int, work: int) -> int:
    """Channels of a unit that reads `work` elements for each."""
    block = 4 * lowering.target.lanes
    while block < channels and block * work < UNIT_WORK:
        block *= 2
    return block


def mean_windows(
    node: Node,
    lowering: Lowering,
    x: Address,
    view: tuple[int, int, int, int],
    rows: Packed,
    columns: Packed,
    divisor: int = 0,
) -> None:
    """Steps that write the mean of every window of x, seen as images of shape `view` (N, H, W, C)."""
    images, height, width, channels = view
    source, attributes = node.inputs["x"], node.attributes
    integer = lowering.dtype(node.output) == "int8"
    heights, widths = (table.array[:, 1] - table.array[:, 0] for table in (rows, columns))
    area = int(heights.max()) * int(widths.sum())
    slots = {}
    if integer:
        zero, low, high = int8_output(lowering, node.output, attributes)
        slots = {
            "x_zero": lowering.zero_point(source),
            "zero": zero,
            "multiplier": attributes["multiplier"],
            "low": low,
            "high": high,
        }
    whole = len(heights) == len(widths) == 1 and (heights[0], widths[0]) == (height, width)
    if whole and height >= lowering.threads and area * channels >= _LEAST_IN_PARTS:
        count = divisor or int(rows.array[0, 2] * columns.array[0, 2])
        _mean_in_parts(lowering, x, lowering.write(node.output), view, count, integer, slots)
        return
    block = _channel_block(lowering, channels, area)
    lowering.step(
        "s8_mean" if integer else "f32_mean",
        images * len(heights) * -(-channels // block),
        max(1, UNIT_WORK // (max(area, 1) * min(block, channels))),
        x=x,
        y=lowering.write(node.output),
        rows=rows,
        columns=columns,
        height=height,
        width=width,
        out_height=len(heights),
        out_width=len(widths),
        channels=channels,
        block=block,
        divisor=divisor,
        **slots,
    )


def _mean_in_parts(
    lowering: Lowering,
    x: Address,
    y: Operand,
    view: tuple[int, int, int, int],
    count: int,
    integer: bool,
    slots: dict[str, Any],
) -> None:
    """Steps that write the mean of every image, of whose rows each thread has a part.

    `slots`: those of an int8 mean.
    """
    images, height, width, channels = view
    prefix, sum_bytes = ("s8", 4) if integer else ("f32", 8)
    parts = -(-lowering.threads // images)
    sums_bytes = aligned(-(-channels // lowering.target.lanes) * lowering.target.lanes * sum_bytes)
    sums = lowering.temporary(images * parts * sums_bytes)
    shared = {"channels": channels, "parts": parts, "sums_bytes": sums_bytes}
    lowering.step(
        f"{prefix}_sum_parts",
        images * parts,
        1,
        x=x,
        sums=lowering.write(sums),
        height=height,
        width=width,
        **shared,
    )
    if integer:
        slots["offset"] = slots.pop("x_zero") * height * width
    lowering.step(f"{prefix}_mean_of_parts", images, 1, sums=lowering.read(sums), y=y, count=count, **shared, **slots)


def image_shape(lowering: Lowering, name: str) -> tuple[int, int, int, int]:
    """Shape of a tensor of rank 4."""
    n, h, w, c = lowering.shape(name)
    return n, h, w, c


@lowers("avg_pool2d")
def avg_pool2d(node: Node, lowering: Lowering) -> None:
    """Mean of each window."""
    a, x = node.attributes, node.inputs["x"]
    shape, out = image_shape(lowering, x), lowering.shape(node.output)
    tables = [
        _table(
            lowering,
            out[1 + axis],
            strided_windows,
            shape[1 + axis],
            out[1 + axis],
            a["kernel"][axis],
            a["stride"][axis],
            a["padding"][2 * axis],
            a["padding"][2 * axis + 1],
            a["count_include_pad"],
        )
        for axis in (0, 1)
    ]
    mean_windows(node, lowering, lowering.read(x), shape, tables[0], tables[1], a["divisor"] or 0)


@lowers("adaptive_avg_pool2d")
def adaptive_avg_pool2d(node: Node, lowering: Lowering) -> None:
    """Means over windows that divide the image."""
    x, (out_h, out_w) = node.inputs["x"], node.attributes["output_size"]
    shape = image_shape(lowering, x)
    rows, columns = (
        _table(lowering, n, adaptive_windows, size, n) for size, n in zip(shape[1:3], (out_h, out_w), strict=True)
    )
    mean_windows(node, lowering, lowering.read(x), shape, rows, columns)


@lowers("mean")
def mean(node: Node, lowering: Lowering) -> None:
    """Mean over adjacent axes, in place; other axes are brought together by a permuted copy first."""
    x, axes = node.inputs["x"], sorted(node.attributes["axes"])
    shape = lowering.shape(x)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    # A reduced axis of size 1 changes nothing, and the last kept axes are the channels.
    order = [axis for axis in range(len(shape)) if shape[axis] != 1]
    reduced = [axis for axis in order if axis in axes]
    after = [axis for axis in order if reduced and axis not in axes and axis > reduced[0]]
    adjacent = not reduced or all(axis in axes for axis in order if reduced[0] <= axis <= reduced[-1])
    if adjacent and (after or not reduced):
        source, inner = lowering.read(x), after
    else:
        size = element_bytes(lowering, x)
        permuted = lowering.temporary(lowering.size(x) * size)
        permute_array(lowering, lowering.read(x), lowering.write(permuted), shape, axes + kept, size)
        source, inner, reduced = lowering.read(permuted), kept, axes
    channels, count = _size(shape, inner), _size(shape, reduced)
    width = shape[reduced[-1]] if reduced else 1
    height = count // width
    view = (lowering.size(x) // (channels * count), height, width, channels)
    rows, columns = (_table(lowering, 1, adaptive_windows, n, 1) for n in (height, width))
    mean_windows(node, lowering, source, view, rows, columns)


def _size(shape: Sequence[int], axes: Sequence[int]) -> int:
    return math.prod(shape[axis] for axis in axes)


def dilated_windows(size: int, out: int, kernel: int, stride: int, dilation: int, before: int) -> np.ndarray:
    """First and last index inside the input of each window of max pooling; the count is not used."""
    start = np.arange(out, dtype=np.int64) * stride - before
    first = np.where(start < 0, start % dilation, start)
    last = np.minimum(start + (kernel - 1) * dilation, first + (size - 1 - first) // dilation * dilation)
    return np.stack([first, last + 1, np.zeros_like(first)], axis=1)


@lowers("max_pool2d")
def max_pool2d(node: Node, lowering: Lowering) -> None:
    """The greatest value of each window."""
    a, x = node.attributes, node.inputs["x"]
    images, height, width, channels = image_shape(lowering, x)
    _, out_h, out_w, _ = lowering.shape(node.output)
    (kh, kw), (sh, sw), (dh, dw) = a["kernel"], a["stride"], a["dilation"]
    top, _, left, _ = a["padding"]
    work = kh * kw * out_w
    units = images * out_h
    slots = {}
    if lowering.dtype(x) == "int8":
        slots["lowest"] = lowering.stored(-128) & 0xFF
    else:
        slots["block"] = _channel_block(lowering, channels, work)
        units *= -(-channels // slots["block"])
    lowering.step(
        "s8_max_pool" if lowering.dtype(x) == "int8" else "f32_max_pool",
        units,
        max(1, UNIT_WORK // (work * channels)),
        x=lowering.read(x),
        y=lowering.write(node.output),
        rows=_table(lowering, out_h, dilated_windows, height, out_h, kh, sh, dh, top),
        columns=_table(lowering, out_w, dilated_windows, width, out_w, kw, sw, dw, left),
        height=height,
        width=width,
        out_height=out_h,
        out_width=out_w,
        channels=channels,
        row_step=dh,
        column_step=dw,
        **slots,
    )

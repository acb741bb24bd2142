"""int8 depthwise convolution of whole blocks of channels, for layers that only requantize, at most with a hardswish.

As `depthwise_int8`, but a block is as many vectors of channels as widening makes of a register of bytes, or half of it:
loads and stores are wide, and interleaving takes few shuffles. Interleaved rows lie in planes, a group of rows each,
that adjacent bands share (see `table_int8.plane_steps`). There is room for as many as a band needs, or for more, of
which the oldest makes room for the one that is needed next. In wide images that one is filled between the tiles of the
band's last row, where these have been, so that arithmetic hides the reading. The last block is moved back to end with
the last channel.
Weights are packed [block][head][output row of the band][vector][groups of rows][kernel column]; for the head see
`simd_depthwise_wide.Head`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.depthwise_int8 import interleaver
from edgenet.kernels.simd import lane_count
from edgenet.kernels.simd_depthwise_wide import depthwise_pixels, interleave_block
from edgenet.kernels.table_int8 import NARROW_ROW, head_vectors, plane_steps
from edgenet.kernels.tuples import each_add, each_multiply, each_within, greatest, least, sequence


def _next_tile(kernel_width: int, step_x: int, columns: int, vectors: int, activation: int) -> Any:
    """Computes the tile of a row that begins at output `first`, or before if the row ends; returns what follows it."""
    less = columns - 1

    @njit(inline="always")
    def next_tile(planes, column_bytes, block, target, first, out_width):
        head, taps = block
        out, y_stride, bounds, output_multiplier = target
        if (out_width - first) % columns == 0:
            depthwise_pixels(
                each_add(planes, first * step_x * column_bytes), head, taps, out + first * y_stride, y_stride, bounds,
                output_multiplier, columns, kernel_width, step_x, vectors, activation,
            )  # fmt: skip
            first += columns
        else:
            first = least(first, out_width - less)
            depthwise_pixels(
                each_add(planes, first * step_x * column_bytes), head, taps, out + first * y_stride, y_stride, bounds,
                output_multiplier, less, kernel_width, step_x, vectors, activation,
            )  # fmt: skip
            first += less
        return first

    return next_tile


def depthwise_wide(
    kernel_height: int, kernel_width: int, step_y: int, step_x: int, band: int, columns: int, group: int, vectors: int,
    activation: int,
) -> Callable[..., None]:  # fmt: skip
    """Depthwise convolution of these kernel sizes and strides, at least `columns` - 1 outputs wide.

    A block is so many `vectors`. `activation`: see `table_int8.ACTIVATIONS`.

    The output divides into parts of `part_rows` rows, each of them into stacks of `stack_rows`, whose bands of `band`
    rows share interleaved rows; a thread's scratch holds `planes` of them. Unit: a stack of a block of channels.
    """
    apart, groups, needed, each_group = plane_steps(kernel_height, step_y, band, group)
    less = columns - 1
    head_size = head_vectors(activation)
    fill_borders, find_rows, interleave_columns = interleaver(group, vectors, interleave_block)
    next_tile = _next_tile(kernel_width, step_x, columns, vectors, activation)

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        image_stride: int,
        row_stride: int,
        pixel_stride: int,
        outside: int,
        height: int,
        width: int,
        top: int,
        left: int,
        out_height: int,
        out_width: int,
        y: int,
        y_stride: int,
        weights: int,
        packed_bytes: int,
        scratch: int,
        scratch_bytes: int,
        in_columns: int,
        planes: int,
        stack_rows: int,
        part_rows: int,
        blocks: int,
        channels: int,
        zero: int,
        smallest: int,
        largest: int,
        output_multiplier: float,
    ):
        vector = lane_count() * 4
        block_channels = lane_count() * vectors
        column_bytes = vectors * vector
        plane_bytes = in_columns * column_bytes
        own = scratch + thread * scratch_bytes
        bounds = (zero, smallest, largest)
        parts = (out_height + part_rows - 1) // part_rows
        stacks = (part_rows + stack_rows - 1) // stack_rows
        right = least(left + width, in_columns)
        for slot in range(planes):
            fill_borders(outside, own + slot * plane_bytes, column_bytes, left, width, in_columns)
        for unit in range(begin, end):
            channel = least((unit % blocks) * block_channels, channels - block_channels)
            part_row = (unit // blocks % stacks) * stack_rows
            first_row = (unit // blocks // stacks % parts) * part_rows + part_row
            count = least(least(stack_rows, part_rows - part_row), out_height - first_row)
            batch = unit // blocks // stacks // parts
            image = (x + batch * image_stride + channel, row_stride, pixel_stride, outside, height)
            in_row = first_row * step_y - top
            unit_planes = (count - 1) // band + needed
            places, steps = find_rows(image, in_row, 1)
            for slot in range(least(planes, unit_planes)):
                places, steps = find_rows(image, in_row + slot * apart, 1)
                interleave_columns(places, steps, own + slot * plane_bytes, column_bytes, left, right)
            head = weights + (unit % blocks) * packed_bytes
            out = y + (batch * out_height + first_row) * out_width * y_stride + channel
            first_slot, coming = 0, planes
            for band_row in range(0, count, band):
                numbers = sequence(first_slot, each_group, groups)
                behind = each_within(each_add(numbers, -planes), planes)
                used = each_add(each_multiply(each_add(numbers, each_multiply(behind, -planes)), plane_bytes), own)
                for row in range(least(band, count - band_row)):
                    column, stop = left, left
                    if row == band - 1 and coming < unit_planes:
                        places, steps = find_rows(image, in_row + coming * apart, 1)
                        stop = right
                    taps = head + head_size * vectors * vector + row * groups * vectors * kernel_width * vector
                    target = (out, y_stride, bounds, output_multiplier)
                    first = 0
                    while first < out_width:
                        first = next_tile(used, column_bytes, (head, taps), target, first, out_width)
                        if first < out_width and stop > left and out_width > NARROW_ROW:
                            free = greatest(column, least(stop, least(first, out_width - less) * step_x))
                            places = interleave_columns(places, steps, used[0], column_bytes, column, free)
                            column = free
                    interleave_columns(places, steps, used[0], column_bytes, column, stop)
                    out += out_width * y_stride
                coming += 1
                first_slot += 1
                if first_slot == planes:
                    first_slot = 0

    return kernel

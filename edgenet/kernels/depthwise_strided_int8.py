"""int8 depthwise convolution of whole blocks of channels with a horizontal stride.

As `depthwise_wide_int8`, for the same layers, but few outputs share an input column, so that it is interleaved in
registers, where it is used. Weights are packed as there.
A half block has half as many channels: half as many vectors of them, or those of two rows of the output at the same
time, one in each half of the registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.simd import lane_count, repeat
from edgenet.kernels.simd_depthwise_wide import depthwise_strided
from edgenet.kernels.table_int8 import head_vectors
from edgenet.kernels.tuples import each_add, each_choose, each_multiply, each_within, least, sequence


def _tile(
    kernel_width: int, step_x: int, columns: int, group: int, vectors: int, activation: int, together: int
) -> Any:
    """Outputs first..first+columns-1 of a row."""
    span = (columns - 1) * step_x + kernel_width

    @njit(inline="always")
    def tile(bases, steps, window, block, target, first):
        left, width, outside = window
        head, taps = block
        y, y_stride, apart, bounds, output_multiplier = target
        column = first * step_x - left
        out = y + first * y_stride
        inner = (column, width, outside)
        if column >= 0 and column + span <= width:
            depthwise_strided(
                bases, steps, inner, head, taps, out, y_stride, apart, bounds, output_multiplier, columns, kernel_width,
                step_x, group, vectors, activation, together, 0,
            )  # fmt: skip
        else:
            depthwise_strided(
                bases, steps, inner, head, taps, out, y_stride, apart, bounds, output_multiplier, columns, kernel_width,
                step_x, group, vectors, activation, together, 1,
            )  # fmt: skip

    return tile


def depthwise_strided_rows(
    kernel_height: int, kernel_width: int, step_y: int, step_x: int, columns: int, group: int, vectors: int,
    activation: int, together: int,
) -> Callable[..., None]:  # fmt: skip
    """Depthwise convolution of these kernel sizes and strides, at least `columns` - 1 outputs wide.

    A block is so many `vectors`. `activation`: see `table_int8.ACTIVATIONS`.
    `together`: 2 for half blocks of two rows.

    Unit: one output row of one block of channels; where rows go together, two, which lie half of `part_rows` apart.
    The output divides into whole parts.
    """
    less = columns - 1
    head_size = head_vectors(activation)
    wide = _tile(kernel_width, step_x, columns, group, vectors, activation, together)
    narrow = _tile(kernel_width, step_x, less, group, vectors, activation, together)
    count = kernel_height * together

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
        part_rows: int,
        blocks: int,
        channels: int,
        zero: int,
        smallest: int,
        largest: int,
        output_multiplier: float,
    ):
        block_channels = lane_count() * vectors // together
        rows_of_part = part_rows // together
        window = (left, width, outside)
        unit = begin
        while unit < end:
            line = unit // blocks
            row = line // rows_of_part * part_rows + line % rows_of_part
            image = x + (row // out_height) * image_stride
            numbers = sequence((row % out_height) * step_y - top, 1, count)
            first_half = each_within(sequence(0, 1, count), kernel_height)
            numbers = each_choose(first_half, numbers, each_add(numbers, rows_of_part * step_y - kernel_height))
            inside = each_within(numbers, height)
            places = each_add(each_multiply(numbers, row_stride), image)
            places = each_choose(inside, places, repeat(outside, count))
            steps = each_multiply(inside, pixel_stride)
            out = y + row * out_width * y_stride
            apart = rows_of_part * out_width * y_stride
            for number in range(unit - line * blocks, least(blocks, end - line * blocks)):
                channel = least(number * block_channels, channels - block_channels)
                bases = each_add(places, each_multiply(inside, channel))
                head = weights + number * packed_bytes
                block = (head, head + head_size * vectors * lane_count() * 4)
                target = (out + channel, y_stride, apart, (zero, smallest, largest), output_multiplier)
                first = 0
                while first < out_width:
                    if (out_width - first) % columns == 0:
                        wide(bases, steps, window, block, target, first)
                        first += columns
                    else:
                        first = least(first, out_width - less)
                        narrow(bases, steps, window, block, target, first)
                        first += less
            unit = (line + 1) * blocks

    return kernel

"""int8 depthwise convolution, vectorised over channels: lanes are channels.

For one block of channels and a band of output rows, the input rows are first interleaved, column by column, into the
thread's scratch: a vector holds each channel's values of two or four rows, which one product instruction sums. Borders
are filled with the zero point there, so that the sums need no bounds.
Weights are packed [block][int32 bias][float32 multiplier][output row of the band][groups of rows][kernel column].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_int8 import finish
from edgenet.kernels.simd import lane_count, load_row_f32, repeat
from edgenet.kernels.simd_depthwise_int8 import depthwise_dot, interleave_rows, part
from edgenet.kernels.simd_int8 import load_row_i32
from edgenet.kernels.simd_tuples import as_tile
from edgenet.kernels.subroutine import subroutine
from edgenet.kernels.tuples import (
    each_add,
    each_choose,
    each_multiply,
    each_within,
    least,
    sequence,
)


def interleaver(rows: int, size: int, interleave_column: Any = interleave_rows) -> tuple[Any, Any, Any]:
    """Functions that fill the padded columns of `own` with interleaved pixels of so many input rows.

    The first fills those outside of the image, which are the same for all rows. The second finds the input rows
    start_y, start_y + step_y, ...: the places of their first pixels, and bytes from one to the next. The third
    interleaves the columns begin..end-1, whose first pixels are at `places`, and returns the places of those behind;
    `interleave_column(places, destination, size)` does so for one column.
    """

    @njit(inline="always")
    def fill_borders(outside, own, column_bytes, left, width, columns):
        border = repeat(outside, rows)
        for column in range(least(left, columns)):
            interleave_column(border, own + column * column_bytes, size)
        for column in range(least(left + width, columns), columns):
            interleave_column(border, own + column * column_bytes, size)

    @njit(inline="always")
    def find_rows(image, start_y, step_y):
        x, row_stride, pixel_stride, outside, height = image
        numbers = sequence(start_y, step_y, rows)
        inside = each_within(numbers, height)
        places = each_choose(inside, each_add(each_multiply(numbers, row_stride), x), repeat(outside, rows))
        return places, each_multiply(inside, pixel_stride)

    @njit(inline="always")
    def interleave_columns(places, steps, own, column_bytes, begin, end):
        for column in range(begin, end):
            interleave_column(places, own + column * column_bytes, size)
            places = each_add(places, steps)
        return places

    return fill_borders, find_rows, interleave_columns


def _band_tile(height: int, width: int, step_y: int, step_x: int, band: int, columns: int, group: int) -> Any:
    """`columns` outputs from `first` on of each row of the band; `valid` rows of the band exist."""
    total = band * columns

    @subroutine
    def tile(arguments):
        own, column_bytes, target, output, place, first, valid = arguments
        y, y_row, y_stride = target
        w = place[0]
        lanes = lane_count()
        sums = repeat(load_row_i32(w, 0, 1)[0], total)
        sums = depthwise_dot(
            sums, own + first * step_x * column_bytes, w + 8 * lanes, columns, band, height, width, step_y,
            step_x, group,
        )  # fmt: skip
        multiplier = load_row_f32(w, lanes, 1)
        out = sequence(y + first * y_stride, y_stride, columns)
        finish(as_tile(part(sums, 0, columns)), multiplier, out, place, output)
        if band > 1 and valid > 1:
            out = each_add(out, y_row)
            finish(as_tile(part(sums, columns, columns)), multiplier, out, place, output)

    return tile


def depthwise(
    height: int, width: int, step_y: int, step_x: int, band: int, columns: int, group: int
) -> Callable[..., None]:
    """Depthwise convolution of a `height` x `width` kernel and these strides, without dilation.

    Unit: `band` (1 or 2) output rows, all channels.
    """
    rows = (band - 1) * step_y + height
    groups = -(-rows // group)
    fill_borders, find_rows, interleave_columns = interleaver(rows, group)
    constants = (height, width, step_y, step_x, band)
    wide = _band_tile(*constants, columns, group)
    narrow = _band_tile(*constants, columns - 1, group)
    single = _band_tile(*constants, 1, group)
    less = columns - 1

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
        residual: int,
        weights: int,
        packed_bytes: int,
        scratch: int,
        scratch_bytes: int,
        in_columns: int,
        channels: int,
        plain: int,
        smallest: int,
        largest: int,
        low: float,
        high: float,
        zero: int,
        residual_zero: int,
        residual_multiplier: float,
        output_multiplier: float,
        activation: int,
        as_float: int,
    ):
        lanes = lane_count()
        bands = (out_height + band - 1) // band
        settings = (
            y, residual, low, high, residual_zero, residual_multiplier, output_multiplier, activation, as_float,
        )  # fmt: skip
        output = (plain, (zero, smallest, largest), settings)
        own = scratch + thread * scratch_bytes
        column_bytes = groups * lanes * 4
        fill_borders(outside, own, column_bytes, left, width, in_columns)
        for unit in range(begin, end):
            out_y = (unit % bands) * band
            valid = out_height - out_y
            row = (unit // bands) * out_height + out_y
            source = x + (unit // bands) * image_stride
            out = y + row * out_width * y_stride
            target = (out, out_width * y_stride, y_stride)
            for channel in range(0, channels, lanes):
                image = (source + channel, row_stride, pixel_stride, outside, height)
                places, steps = find_rows(image, out_y * step_y - top, 1)
                interleave_columns(places, steps, own, column_bytes, left, least(left + width, in_columns))
                w = weights + (channel // lanes) * packed_bytes
                count = channels - channel
                place = (w, channel, count < lanes, count)
                first = 0
                while first < out_width:
                    left_over = out_width - first
                    done = columns
                    if left_over % columns == 0:
                        wide((own, column_bytes, target, output, place, first, valid))
                    elif out_width >= less:
                        first = least(first, out_width - less)
                        narrow((own, column_bytes, target, output, place, first, valid))
                        done = less
                    else:
                        single((own, column_bytes, target, output, place, first, valid))
                        done = 1
                    first += done

    return kernel

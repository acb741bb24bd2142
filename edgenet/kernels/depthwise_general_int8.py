"""int8 depthwise convolution of any kernel, stride and dilation, vectorised over channels.

As `depthwise_int8`, one output row of one block of channels at a time. The product instruction sums a group of taps:
of one kernel column in adjacent kernel rows, or of one kernel row in adjacent columns, whichever wastes fewer; a group
that the kernel does not fill has zero weights. `columns` adjacent outputs are computed at once; the last tile of a row
is moved back to end with the row, and in a row of fewer outputs it computes the last one again.
Weights are packed [block][int32 bias][float32 multiplier][groups of kernel rows][kernel column], or
[block][int32 bias][float32 multiplier][groups of kernel columns][kernel row].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.depthwise_int8 import interleaver
from edgenet.kernels.epilogue_int8 import finish
from edgenet.kernels.simd import lane_count, load_row_f32, repeat
from edgenet.kernels.simd_depthwise_int8 import interleave_rows, places_dot
from edgenet.kernels.simd_int8 import load_row_i32
from edgenet.kernels.simd_tuples import as_tile
from edgenet.kernels.tuples import (
    each_add,
    each_choose,
    each_minimum,
    each_multiply,
    each_within,
    greatest,
    least,
    opaque,
    sequence,
)


def _column_interleaver(group: int) -> Any:
    """Interleaves the columns c, c + dilation, ... of input row in_y, for each padded column c of 0..columns-1."""

    @njit(inline="always")
    def edges(own, numbers, offsets, pixel_stride, outside, limit, begin, end):
        """Columns begin..end-1, of which some of the group lie outside."""
        for column in range(begin, end):
            inside = each_within(each_add(numbers, opaque(column)), limit)
            places = each_choose(inside, each_add(offsets, opaque(column * pixel_stride)), repeat(outside, group))
            interleave_rows(places, own + column * lane_count() * 4, group)

    @njit(inline="always")
    def interleave(image, width, own, in_y, dilation, left, columns):
        x, row_stride, pixel_stride, outside, height = image
        vector = lane_count() * 4
        numbers = sequence(-left, dilation, group)
        offsets = each_add(each_multiply(numbers, pixel_stride), x + in_y * row_stride)
        first = last = limit = 0
        if 0 <= in_y < height:
            limit = width
            first = greatest(0, least(left, columns))
            last = greatest(first, least(columns, width + left - (group - 1) * dilation))
        edges(own, numbers, offsets, pixel_stride, outside, limit, 0, first)
        edges(own, numbers, offsets, pixel_stride, outside, limit, last, columns)
        for column in range(first, last):
            interleave_rows(each_add(offsets, opaque(column * pixel_stride)), own + column * vector, group)

    return interleave


def _tile(columns: int) -> Any:
    """Outputs first..first+columns-1 of a row whose interleaved input begins at `own`."""

    @njit(inline="always")
    def tile(own, out_row, y_stride, first, out_width, taps, place, multiplier, output):
        outer, outer_bytes, inner, inner_bytes, step_bytes = taps
        vector = lane_count() * 4
        numbers = each_minimum(sequence(0, 1, columns), out_width - 1)
        offsets = each_multiply(numbers, step_bytes)
        w = place[0]
        sums = repeat(load_row_i32(w, 0, 1)[0], columns)
        w += 2 * vector
        line = own + first * step_bytes
        for _ in range(outer):
            at = line
            for _ in range(inner):
                sums = places_dot(sums, each_add(offsets, opaque(at)), w)
                at += inner_bytes
                w += vector
            line += outer_bytes
        finish(as_tile(sums), multiplier, each_add(each_multiply(numbers, y_stride), out_row), place, output)

    return tile


def depthwise_general(columns: int, group: int, across: int) -> Callable[..., None]:
    """Depthwise convolution of any kernel, stride and dilation; `across`: groups are of kernel columns.

    Unit: one output row of one block of channels.
    """
    half = columns // 2
    fill_borders, find_rows, interleave_columns = interleaver(group, group)
    interleave_across = _column_interleaver(group)
    wide = _tile(columns)
    narrow = _tile(half)

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
        kernel_height: int,
        kernel_width: int,
        stride_y: int,
        stride_x: int,
        dilation_y: int,
        dilation_x: int,
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
        blocks: int,
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
        vector = lanes * 4
        settings = (
            y, residual, low, high, residual_zero, residual_multiplier, output_multiplier, activation, as_float,
        )  # fmt: skip
        output = (plain, (zero, smallest, largest), settings)
        own = scratch + thread * scratch_bytes
        if across:
            groups = (kernel_width + group - 1) // group
            plane = in_columns * vector
            taps = (groups, group * dilation_x * vector, kernel_height, plane, stride_x * vector)
        else:
            groups = (kernel_height + group - 1) // group
            column_bytes = groups * vector
            taps = (groups, vector, kernel_width, dilation_x * column_bytes, stride_x * column_bytes)
            for g in range(groups):
                fill_borders(outside, own + g * vector, column_bytes, left, width, in_columns)
        block = begin % blocks
        row = begin // blocks
        for _ in range(begin, end):
            channel = block * lanes
            start_y = (row % out_height) * stride_y - top
            source = x + (row // out_height) * image_stride + channel
            image = (source, row_stride, pixel_stride, outside, height)
            if across:
                for tap in range(kernel_height):
                    interleave_across(
                        image, width, own + tap * plane, start_y + tap * dilation_y, dilation_x, left, in_columns
                    )
            else:
                for g in range(groups):
                    from_y = start_y + g * group * dilation_y
                    places, steps = find_rows(image, from_y, dilation_y)
                    last = least(left + width, in_columns)
                    interleave_columns(places, steps, own + g * vector, column_bytes, left, last)
            w = weights + block * packed_bytes
            count = channels - channel
            place = (w, channel, count < lanes, count)
            multiplier = load_row_f32(w, lanes, 1)
            first = 0
            while first < out_width:
                if out_width - first > half:
                    first = greatest(0, least(first, out_width - columns))
                    out = y + (row * out_width + first) * y_stride
                    wide(own, out, y_stride, first, out_width, taps, place, multiplier, output)
                    first += columns
                else:
                    first = greatest(0, least(first, out_width - half))
                    out = y + (row * out_width + first) * y_stride
                    narrow(own, out, y_stride, first, out_width, taps, place, multiplier, output)
                    first += half
            block += 1
            if block == blocks:
                block = 0
                row += 1

    return kernel

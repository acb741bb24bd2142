"""float32 depthwise convolution of 3x3, vectorised over channels, in tiles of a few columns that go down some rows.

For each tile all channel blocks. A row of the input is loaded once and added to the sums of all outputs that it
reaches; these stay in registers, as do most of the weights. Columns in the padding read a vector of zeros; rows outside
the input are left out. The last channel block is moved back to end with the last channel. Weights are packed
[block][bias, 3 x 3][lanes], as for `depthwise_f32`, and sums are made in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_f32 import activate
from edgenet.kernels.simd import lane_count, load_f32, load_row_f32, repeat, store_tile_f32
from edgenet.kernels.simd_depthwise import convolve_rows_f32
from edgenet.kernels.simd_tuples import as_tile
from edgenet.kernels.subroutine import subroutine
from edgenet.kernels.tuples import choose_at_ends, each_within, least, places_along, sequence

_VECTORS = 10
"""Vectors of a block of weights: the bias, and three rows of three."""


def _tile(step: int, count: int, clipped: bool) -> Any:
    """`count` outputs of each of `rows` rows, all channel blocks. `clipped`: some columns lie in the padding."""
    span = (count - 1) * step + 3

    @njit(inline="always")
    def at(line, source):
        _, pixel_stride, zeros, inside = source
        places = places_along(line, pixel_stride, span)
        if clipped:
            places = choose_at_ends(inside, places, zeros, 1)
        return places

    @njit(inline="always")
    def finish(sums, y, y_stride, bounds):
        low, high, activation = bounds
        store_tile_f32(activate(as_tile(sums), low, high, activation), sequence(y, y_stride, count), 0)

    @subroutine
    def next_row(arguments):
        """A row of the input that ends `upper`, is the second of `middle`, and begins the sums returned last."""
        upper, middle, line, source, filters, y, y_stride, bounds = arguments
        bias, first, second, third = filters
        lower = repeat(load_f32(bias, 0), count)
        upper, middle, lower = convolve_rows_f32((upper, middle, lower), at(line, source), (third, second, first), step)
        finish(upper, y, y_stride, bounds)
        return middle, lower

    @njit(inline="always")
    def adjacent(line, source, in_y, height, rows, filters, y, y_row, y_stride, bounds):
        """Stride 1: an input row is part of three output rows. Unrolled by three, sums stay where they are."""
        bias, first, second, third = filters
        row_stride = source[0]
        upper = repeat(load_f32(bias, 0), count)
        middle = upper
        if in_y >= 0:
            (upper,) = convolve_rows_f32((upper,), at(line, source), (first,), step)
        line += row_stride
        if in_y + 1 < height:
            upper, middle = convolve_rows_f32((upper, middle), at(line, source), (second, first), step)
        line += row_stride
        whole = rows - 2
        while whole >= 3:
            upper, middle = next_row((upper, middle, line, source, filters, y, y_stride, bounds))
            y += y_row
            line += row_stride
            upper, middle = next_row((upper, middle, line, source, filters, y, y_stride, bounds))
            y += y_row
            line += row_stride
            upper, middle = next_row((upper, middle, line, source, filters, y, y_stride, bounds))
            y += y_row
            line += row_stride
            whole -= 3
        while whole > 0:
            upper, middle = next_row((upper, middle, line, source, filters, y, y_stride, bounds))
            y += y_row
            line += row_stride
            whole -= 1
        if whole == 0:
            upper, middle = convolve_rows_f32((upper, middle), at(line, source), (third, second), step)
            finish(upper, y, y_stride, bounds)
            y += y_row
            line += row_stride
            upper = middle
        if in_y + rows + 1 < height:
            (upper,) = convolve_rows_f32((upper,), at(line, source), (third,), step)
        finish(upper, y, y_stride, bounds)

    @njit(inline="always")
    def every_other(line, source, in_y, height, rows, filters, y, y_row, y_stride, bounds):
        """Stride 2: an output row shares its last input row with the next one."""
        bias, first, second, third = filters
        row_stride = source[0]
        upper = repeat(load_f32(bias, 0), count)
        if in_y >= 0:
            (upper,) = convolve_rows_f32((upper,), at(line, source), (first,), step)
        line += row_stride
        if in_y + 1 < height:
            (upper,) = convolve_rows_f32((upper,), at(line, source), (second,), step)
        line += row_stride
        for _ in range(rows - 1):
            lower = repeat(load_f32(bias, 0), count)
            upper, lower = convolve_rows_f32((upper, lower), at(line, source), (third, first), step)
            finish(upper, y, y_stride, bounds)
            y += y_row
            line += row_stride
            (upper,) = convolve_rows_f32((lower,), at(line, source), (second,), step)
            line += row_stride
        if in_y + 2 * rows < height:
            (upper,) = convolve_rows_f32((upper,), at(line, source), (third,), step)
        finish(upper, y, y_stride, bounds)

    down = adjacent if step == 1 else every_other

    @subroutine
    def tile(arguments):
        image, window, target, bounds, first = arguments
        x, row_stride, pixel_stride, zeros, height, width = image
        in_y, left, rows = window
        y, y_row, y_stride, weights, channels = target
        lanes = lane_count()
        column = first * step - left
        source = (row_stride, pixel_stride, zeros, each_within(sequence(column, 1, span), width))
        from_column = x + in_y * row_stride + column * pixel_stride
        to_column = y + first * y_stride
        for block in range((channels + lanes - 1) // lanes):
            channel = least(block * lanes, channels - lanes) * 4
            w = weights + block * _VECTORS * lanes * 4
            top, center, bottom = load_row_f32(w, lanes, 3), w + 4 * lanes * 4, w + 7 * lanes * 4
            if step == 1:
                filters = (w, top, load_row_f32(center, 0, 3), bottom)
            else:
                filters = (w, top, center, load_row_f32(bottom, 0, 3))
            line, place = from_column + channel, to_column + channel
            down(line, source, in_y, height, rows, filters, place, y_row, y_stride, bounds)

    return tile


def depthwise_columns(step: int, columns: int, most_rows: int) -> Callable[..., None]:
    """Depthwise convolution of 3x3, stride `step` both ways, padding of 1 at most. Unit: one output row.

    Tiles are 2 or 3 outputs wide, `columns` where that is possible, and go down `most_rows` rows at most. The result is
    at least 2 wide.
    """
    other = 5 - columns
    wide, wide_clipped = _tile(step, columns, False), _tile(step, columns, True)
    rest, rest_clipped = _tile(step, other, False), _tile(step, other, True)

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        image_stride: int,
        row_stride: int,
        pixel_stride: int,
        zeros: int,
        height: int,
        width: int,
        top: int,
        left: int,
        out_height: int,
        out_width: int,
        y: int,
        y_stride: int,
        weights: int,
        channels: int,
        low: float,
        high: float,
        activation: int,
    ):
        y_row = out_width * y_stride
        bounds = (low, high, activation)
        others = out_width % 2
        if columns == 3:
            others = -out_width % 3
        unit = begin
        while unit < end:
            out_y = unit % out_height
            rows = least(end - unit, out_height - out_y)
            tiles = (rows + most_rows - 1) // most_rows
            rows = least((rows + tiles - 1) // tiles, most_rows)  # LLVM drops loops of which that leaves one turn
            image = (x + (unit // out_height) * image_stride, row_stride, pixel_stride, zeros, height, width)
            window = (out_y * step - top, left, rows)
            target = (y + unit * y_row, y_row, y_stride, weights, channels)
            first = 0
            missing = others
            while first < out_width:
                count = columns
                if missing > 0:
                    count = other
                    missing -= 1
                from_x = first * step - left
                inside = from_x >= 0 and from_x + (count - 1) * step + 3 <= width
                if count == columns:
                    if inside:
                        wide((image, window, target, bounds, first))
                    else:
                        wide_clipped((image, window, target, bounds, first))
                elif inside:
                    rest((image, window, target, bounds, first))
                else:
                    rest_clipped((image, window, target, bounds, first))
                first += count
            unit += rows

    return kernel

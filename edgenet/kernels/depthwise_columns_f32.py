"""float32 depthwise convolution of 3x3, vectorised over channels, in tiles of few columns that go down some rows.

For each tile a group of channel blocks, or all. A row of the input is loaded once and added to the sums of all outputs
that it reaches; these stay in registers, as do most of the weights. The rows of a tile follow each other in the code,
not in a loop: a load then reads the same row and column of every channel block, which prefetchers follow, and no
instruction is spent on turns. Columns in the padding read a vector of zeros; rows outside the input are left out. The
last channel block is moved back to end with the last channel. Weights are packed [block][bias, 3 x 3][lanes], as for
`depthwise_f32`, and sums are made in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_f32 import HARDSWISH, activate
from edgenet.kernels.neighbours import ask_at_border
from edgenet.kernels.simd import clamp, lane_count, load_f32, load_row_f32, repeat, store_tile_f32
from edgenet.kernels.simd_depthwise import convolve_rows_f32
from edgenet.kernels.simd_tuples import as_tile
from edgenet.kernels.subroutine import straight_line, subroutine
from edgenet.kernels.tuples import each_within, least, opaque, sequence

_HEIGHT = 3
"""Rows of the kernel."""
_VECTORS = 10
"""Vectors of a block of weights: the bias, and three rows of three."""
_INFINITY = float("inf")


def _tile(step: int, count: int, longest: int, edges: bool, hardswish: bool) -> Any:
    """`count` outputs of each of at most `longest` rows, some channel blocks. `edges`: some lie in the padding.

    A row is an address `line` of its first column, and with edges those of its first and last columns, which stay where
    they are in the padding.
    """
    span = (count - 1) * step + 3

    @njit(inline="always")
    def below(row, strides):
        """The next row."""
        line, left, right = row
        line = opaque(line + strides[0])
        if edges:
            return line, opaque(left + strides[1]), opaque(right + strides[2])
        return line, left, right

    @njit(inline="always")
    def convolve(sums, row, strides, filters) -> Any:
        line, left, right = row
        places = sequence(line, strides[3], span)
        if edges:
            places = (left,) + places[1:-1] + (right,)  # noqa: RUF005  # numba has no starred tuples
        return convolve_rows_f32(sums, places, filters, step)

    @njit(inline="always")
    def finish(sums, y, y_stride, bounds):
        low, high = bounds
        tile = as_tile(sums)
        tile = activate(tile, -_INFINITY, _INFINITY, HARDSWISH) if hardswish else clamp(tile, low, high)
        store_tile_f32(tile, sequence(y, y_stride, count), 0)

    @subroutine
    def last(state):
        """The last row of outputs, whose sums lack the third row of the kernel."""
        sums, _, row, strides, filters, y, _, y_stride, bounds, bottom = state
        if not bottom:
            (sums,) = convolve((sums,), row, strides, (filters[3],))
        finish(sums, y, y_stride, bounds)

    @subroutine
    def another(state):
        """A row of outputs, and the sums of those below: of the next one, and of the one that the kernel begins."""
        upper, middle, row, strides, filters, y, y_row, y_stride, bounds, bottom = state
        bias, first, second, third = filters
        lower = repeat(load_f32(bias, 0), count)
        if step == 1:
            upper, middle, lower = convolve((upper, middle, lower), row, strides, (third, second, first))
        else:
            upper, lower = convolve((upper, lower), row, strides, (third, first))
            row = below(row, strides)
            (middle,) = convolve((lower,), row, strides, (second,))
        finish(upper, y, y_stride, bounds)
        return middle, lower, below(row, strides), strides, filters, y + y_row, y_row, y_stride, bounds, bottom

    down = straight_line(another, last, longest)

    @subroutine
    def tile(arguments):
        image, window, target, bounds, first = arguments
        x, row_stride, pixel_stride, zeros, height, width = image
        in_y, left, rows = window
        y, y_row, y_stride, weights, channels, (from_block, to_block) = target
        lanes = lane_count()
        column = first * step - left
        inside = each_within(sequence(column, 1, span), width)
        start = x + in_y * row_stride + column * pixel_stride
        left_stride, right_stride = row_stride, row_stride
        left_start, right_start = start, start + (span - 1) * pixel_stride
        if inside[0] == 0:
            left_stride, left_start = 0, zeros
        if inside[span - 1] == 0:
            right_stride, right_start = 0, zeros
        strides = (row_stride, left_stride, right_stride, pixel_stride)
        to_column = y + first * y_stride
        top = in_y < 0
        bottom = in_y + (rows - 1) * step + 2 >= height
        for block in range(from_block, to_block):
            channel = least(block * lanes, channels - lanes) * 4
            w = weights + block * _VECTORS * lanes * 4
            top_taps = load_row_f32(w, lanes, 3)
            if step == 1:
                filters = (w, top_taps, load_row_f32(w, 4 * lanes, 3), w + 7 * lanes * 4)
            else:
                filters = (w, top_taps, w + 4 * lanes * 4, load_row_f32(w, 7 * lanes, 3))
            row = (start + channel, left_start + channel, right_start + channel)
            upper = repeat(load_f32(w, 0), count)
            middle = upper
            if not top:
                (upper,) = convolve((upper,), row, strides, (top_taps,))
            row = below(row, strides)
            if step == 1:
                upper, middle = convolve((upper, middle), row, strides, (filters[2], top_taps))
            else:
                (upper,) = convolve((upper,), row, strides, (filters[2],))
            row = below(row, strides)
            place = to_column + channel
            down((upper, middle, row, strides, filters, place, y_row, y_stride, bounds, bottom), rows)

    return tile


def _last_tile(step: int, columns: int, longest: int, hardswish: bool) -> Any:
    """The tile of the last 1 to `columns` - 1 outputs of rows; `columns` is 2 or 4."""
    single = _tile(step, 1, longest, True, hardswish)

    @njit(inline="always")
    def of_one(count, arguments):
        single(arguments)

    if columns == 2:
        return of_one
    two, three = _tile(step, 2, longest, True, hardswish), _tile(step, 3, longest, True, hardswish)

    @njit(inline="always")
    def of_up_to_three(count, arguments):
        if count == 3:
            three(arguments)
        elif count == 2:
            two(arguments)
        else:
            single(arguments)

    return of_up_to_three


def depthwise_columns(step: int, columns: int, longest: int, hardswish: int) -> Callable[..., None]:
    """Depthwise convolution of 3x3, stride `step` both ways, padding of 1 at most. Unit: one output row.

    Tiles are `columns` wide, and go down `most_rows` rows at most, which is no more than `longest`; all tiles of
    these rows take `group` blocks of channels before the next ones. `hardswish`: the activation; else it is a clamp to
    low..high.
    """
    wide = _tile(step, columns, longest, False, bool(hardswish))
    wide_at_edge = _tile(step, columns, longest, True, bool(hardswish))
    last_tile = _last_tile(step, columns, longest, bool(hardswish))

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
        most_rows: int,
        group: int,
        low: float,
        high: float,
    ):
        for border, below in ((begin, False), (end, True)):
            ask_at_border(border, below, x, image_stride, row_stride, height, out_height, step, top, _HEIGHT)
        y_row = out_width * y_stride
        lanes = lane_count()
        blocks = (channels + lanes - 1) // lanes
        unit = begin
        while unit < end:
            out_y = unit % out_height
            rows = least(end - unit, out_height - out_y)
            tiles = (rows + most_rows - 1) // most_rows
            rows = (rows + tiles - 1) // tiles
            image = (x + (unit // out_height) * image_stride, row_stride, pixel_stride, zeros, height, width)
            window = (out_y * step - top, left, rows)
            from_block = 0
            while from_block < blocks:
                to_block = least(from_block + group, blocks)
                target = (y + unit * y_row, y_row, y_stride, weights, channels, (from_block, to_block))
                first = 0
                while first < out_width:
                    from_x = first * step - left
                    if out_width - first < columns:
                        last_tile(out_width - first, (image, window, target, (low, high), first))
                    elif from_x >= 0 and from_x + (columns - 1) * step + 3 <= width:
                        wide((image, window, target, (low, high), first))
                    else:
                        wide_at_edge((image, window, target, (low, high), first))
                    first += columns
                from_block = to_block
            unit += rows

    return kernel

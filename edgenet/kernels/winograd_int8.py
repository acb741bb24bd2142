"""int8 Winograd convolution F(4x4, 3x3), exact: 36 products of small matrices instead of 144 taps for each 4x4 outputs.

Lavin and Gray, 2015, "Fast Algorithms for Convolutional Neural Networks", with the interpolation points 0, +-1, +-2 and
infinity and, so that all operands are integers, the weights' transform multiplied by 24 across and 24 down, of which
factors are left to the output's. One line of the transforms (g, d, y: weights, window, outputs):

    U = 6 g0, g0 + g1 + g2, g0 - g1 + g2, g0 + 2 g1 + 4 g2, g0 - 2 g1 + 4 g2, 6 g2
    V = 4 d0 - 5 d2 + d4, -4 d1 - 4 d2 + d3 + d4, 4 d1 - 4 d2 - d3 + d4, -2 d1 - d2 + 2 d3 + d4, 2 d1 - d2 - 2 d3 + d4,
        4 d1 - 5 d3 + d5
    M = U V
    24 y0 = M0 - 4 (M1 + M2) + (M3 + M4)     12 y1 = -2 (M1 - M2) + (M3 - M4)
     6 y2 =     - (M1 + M2) + (M3 + M4)       6 y3 =   - (M1 - M2) + 2 (M3 - M4) + M5

Both ways, U and V fit in int16. Sums are int32 and may wrap around: what counts is 9 * 2**n * y modulo 2**32, with n up
to 6. The inverse of 9 and a shift give y itself, where |y| < 2**25 (`edgenet.prepare.lower_int8_winograd` makes sure).

A unit transforms the windows of its block of tiles in the thread's scratch, [36][tiles][depth], once; then for each
panel of output channels the products, [36][tiles][panel], and the outputs. A panel: [int32 bias][float32 multiplier]
[36][depth in pairs][columns * lanes][2].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_int8 import finish
from edgenet.kernels.gemm_int8 import over_pixels
from edgenet.kernels.partition import block_start
from edgenet.kernels.places import row_places
from edgenet.kernels.simd import lane_count, lines_of, load_row_f32, prefetch_l2, store
from edgenet.kernels.simd_bytes import register_bytes
from edgenet.kernels.simd_convert import int_add, int_multiply, int_subtract, shift_left, shift_right
from edgenet.kernels.simd_int8 import load_i16, load_i32, load_widened, no_sums, store_sums
from edgenet.kernels.simd_outer import outer_word_dots
from edgenet.kernels.simd_tuples import as_tile
from edgenet.kernels.table_int8 import WINOGRAD_POSITIONS
from edgenet.kernels.tuples import (
    each_add,
    each_and,
    each_choose,
    each_multiply,
    each_within,
    greatest,
    least,
    sequence,
)

INVERSE_OF_9 = 954437177
"""Modulo 2**32."""


@njit(inline="always")
def _input_line(d0, d1, d2, d3, d4, d5):
    """V of a line of a window."""
    even, odd = int_subtract(d4, d2), shift_left(int_subtract(d3, d1), 1)
    even_4, odd_4 = int_subtract(d4, shift_left(d2, 2)), int_subtract(d3, shift_left(d1, 2))
    return (
        int_add(shift_left(int_subtract(d0, d2), 2), even),
        int_add(even_4, odd_4),
        int_subtract(even_4, odd_4),
        int_add(even, odd),
        int_subtract(even, odd),
        int_subtract(int_subtract(d5, d3), shift_left(odd, 1)),
    )


@njit(inline="always")
def _output_line(m0, m1, m2, m3, m4, m5):
    """24 y0, 12 y1, 6 y2 and 6 y3."""
    sum_1, difference_1 = int_add(m1, m2), int_subtract(m1, m2)
    sum_2, difference_2 = int_add(m3, m4), int_subtract(m3, m4)
    return (
        int_add(int_subtract(m0, shift_left(sum_1, 2)), sum_2),
        int_subtract(difference_2, shift_left(difference_1, 1)),
        int_subtract(sum_2, sum_1),
        int_add(int_subtract(shift_left(difference_2, 1), difference_1), m5),
    )


@njit(inline="always")
def _transform_window(image, line, first_y, first_x, lines, windows, spread):
    """One window to `windows`, the 36 positions `spread` bytes apart; `lines` is room for 36 registers."""
    row_stride, depth, outside, height, width = image
    step = register_bytes() // 2
    rows = sequence(first_y, 1, 6)
    rows_inside = each_within(rows, height)
    places = each_add(each_multiply(rows, row_stride), line)
    interior = first_y >= 0 and first_y + 6 <= height and first_x >= 0 and first_x + 6 <= width
    for start in range(0, depth, step):
        channel = least(start, depth - step)
        for column in range(6):
            d = each_add(places, (first_x + column) * depth + channel)
            if not interior:
                inside = 0
                if first_x + column >= 0 and first_x + column < width:
                    inside = 1
                d = each_choose(each_and(rows_inside, inside), d, outside + channel)
            v = _input_line(
                load_widened(d[0]), load_widened(d[1]), load_widened(d[2]), load_widened(d[3]), load_widened(d[4]),
                load_widened(d[5]),
            )  # fmt: skip
            store(v[0], lines, column * step)
            store(v[1], lines, (6 + column) * step)
            store(v[2], lines, (12 + column) * step)
            store(v[3], lines, (18 + column) * step)
            store(v[4], lines, (24 + column) * step)
            store(v[5], lines, (30 + column) * step)
        for row in range(6):
            d = lines + row * 6 * register_bytes()
            v = _input_line(
                load_i16(d, 0), load_i16(d, step), load_i16(d, 2 * step), load_i16(d, 3 * step), load_i16(d, 4 * step),
                load_i16(d, 5 * step),
            )  # fmt: skip
            out = windows + row * 6 * spread
            store(v[0], out, channel)
            store(v[1], out + spread, channel)
            store(v[2], out + 2 * spread, channel)
            store(v[3], out + 3 * spread, channel)
            store(v[4], out + 4 * spread, channel)
            store(v[5], out + 5 * spread, channel)


def _products(rows: int, second: int, columns: int) -> Any:
    """The products of one position and panel: [tiles][depth] by [depth][columns * lanes].

    While the first tiles are multiplied, the matrix that follows is brought near.
    """
    lines = lines_of(columns)

    @njit(inline="always")
    def multiply_tile(places, w, ahead, pairs, products, height):
        width = columns * lane_count()
        sums = no_sums(height, columns)
        for k in range(pairs):
            prefetch_l2(ahead + k * width * 4, lines)
            sums = outer_word_dots(sums, places, k, w + k * width * 4, 1)
        store_sums(sums, products)

    @njit(inline="always")
    def first_ahead(first, w, pairs):
        ahead = w
        if first == 0:
            ahead += pairs * columns * lane_count() * 4
        return ahead

    @njit(inline="always")
    def tile(job, first, last, height):
        windows, stride, w, pairs, products = job
        places = row_places(windows, stride, first, last, height)
        target = products + first * columns * lane_count() * 4
        multiply_tile(places, w, first_ahead(first, w, pairs), pairs, target, height)

    @njit(inline="always")
    def whole_tiles(job, pixel, last, height):
        windows, stride, w, pairs, products = job
        line = columns * lane_count() * 4
        windows += pixel * stride
        products += pixel * line
        ahead = first_ahead(pixel, w, pairs)
        for _ in range(pixel, last, height):
            multiply_tile(sequence(windows, stride, height), w, ahead, pairs, products, height)
            ahead = w
            windows += height * stride
            products += height * line

    return over_pixels(tile, rows, second, whole_tiles)


@njit(inline="always")
def _finish_tile(products, spread, lines, head, tile_rows, pixels, out_width, y_stride, place, output):
    """Outputs of one tile for a vector of channels, from its products, `spread` bytes apart.

    `head`: addresses of bias and multiplier; `pixels`: the numbers of a row's four outputs, those that do not exist
    first, in the place of the last that does.
    """
    lanes = lane_count()
    for column in range(6):
        m = products + column * spread
        z = _output_line(
            load_i32(m, 0), load_i32(m + 6 * spread, 0), load_i32(m + 12 * spread, 0), load_i32(m + 18 * spread, 0),
            load_i32(m + 24 * spread, 0), load_i32(m + 30 * spread, 0),
        )  # fmt: skip
        store(z[0], lines, column * lanes)
        store(z[1], lines, (6 + column) * lanes)
        store(z[2], lines, (12 + column) * lanes)
        store(z[3], lines, (18 + column) * lanes)
    bias, multiplier = load_i32(head[0], 0), load_row_f32(head[1], 0, 1)
    for row in range(tile_rows):
        m = lines + row * 6 * register_bytes()
        z = _output_line(
            load_i32(m, 0), load_i32(m, lanes), load_i32(m, 2 * lanes), load_i32(m, 3 * lanes), load_i32(m, 4 * lanes),
            load_i32(m, 5 * lanes),
        )  # fmt: skip
        shift = greatest(3 - row, 1)
        sums = (
            shift_right(int_multiply(z[3], INVERSE_OF_9), shift + 1),
            shift_right(int_multiply(z[2], INVERSE_OF_9), shift + 1),
            shift_right(int_multiply(z[1], INVERSE_OF_9), shift + 2),
            shift_right(int_multiply(z[0], INVERSE_OF_9), shift + 3),
        )
        places = each_add(each_multiply(each_add(pixels, row * out_width), y_stride), output[2][0])
        finish(as_tile(int_add(sums, bias)), multiplier, places, place, output)


def winograd(rows: int, second: int, columns: int) -> Callable[..., None]:
    """y = requantized(convolution of x with 3x3 kernels, stride 1) with residual and activation.

    Unit: a block of tiles of 4x4 outputs times a span of panels; blocks begin at multiples of `quantum`. `outside` has
    the zero point. A thread's scratch: a register for each position, the windows (`window_spread` bytes from position
    to position, `window_stride` from tile to tile), the products (`product_spread`). `depth` is even, and half the
    bytes of a register at least.
    """
    product = _products(rows, second, columns)

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        image_stride: int,
        row_stride: int,
        outside: int,
        height: int,
        width: int,
        top: int,
        left: int,
        y: int,
        y_stride: int,
        residual: int,
        weights: int,
        scratch: int,
        scratch_bytes: int,
        window_stride: int,
        window_spread: int,
        product_spread: int,
        out_height: int,
        out_width: int,
        tiles_y: int,
        tiles_x: int,
        tiles: int,
        depth: int,
        channels: int,
        blocks: int,
        spans: int,
        span: int,
        quantum: int,
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
        panel_width = columns * lanes
        panels = (channels + panel_width - 1) // panel_width
        panel_bytes = panel_width * (8 + WINOGRAD_POSITIONS * depth * 2)
        settings = (
            y, residual, low, high, residual_zero, residual_multiplier, output_multiplier, activation, as_float,
        )  # fmt: skip
        output = (plain, (zero, smallest, largest), settings)
        image = (row_stride, depth, outside, height, width)
        lines = scratch + thread * scratch_bytes
        windows = lines + WINOGRAD_POSITIONS * register_bytes()
        products = windows + WINOGRAD_POSITIONS * window_spread
        prepared = -1
        for unit in range(begin, end):
            block, part = unit // spans, unit % spans
            first = block_start(tiles, block, blocks, quantum)
            last = block_start(tiles, block + 1, blocks, quantum)
            if block != prepared:
                for tile in range(first, last):
                    row, column = tile // tiles_x, tile % tiles_x
                    line = x + row // tiles_y * image_stride
                    place = windows + (tile - first) * window_stride
                    first_y = row % tiles_y * 4 - top
                    _transform_window(image, line, first_y, column * 4 - left, lines, place, window_spread)
                prepared = block
            for panel in range(part * span, least(part * span + span, panels)):
                w = weights + panel * panel_bytes
                for position in range(WINOGRAD_POSITIONS):
                    source = windows + position * window_spread
                    matrix = w + panel_width * (8 + position * depth * 2)
                    job = (source, window_stride, matrix, depth // 2, products + position * product_spread)
                    product(job, 0, last - first)
                for tile in range(first, last):
                    row, column = tile // tiles_x, tile % tiles_x
                    tile_y = row % tiles_y * 4
                    tile_rows = least(4, out_height - tile_y)
                    most = least(4, out_width - column * 4) - 1
                    pixel = (row // tiles_y * out_height + tile_y) * out_width + column * 4
                    pixels = (pixel + most, pixel + least(2, most), pixel + least(1, most), pixel)
                    source = products + (tile - first) * panel_width * 4
                    for vector in range(columns):
                        channel = panel * panel_width + vector * lanes
                        count = channels - channel
                        if count > 0:
                            head = (w + vector * lanes * 4, w + (panel_width + vector * lanes) * 4)
                            place = (w, channel, count < lanes, count)
                            _finish_tile(
                                source + vector * lanes * 4, product_spread, lines, head, tile_rows, pixels, out_width,
                                y_stride, place, output,
                            )  # fmt: skip

    return kernel

"""int8 Winograd convolution, exact: for F(4x4, 3x3), 36 products of small matrices instead of 144 taps for 16 outputs.

Lavin and Gray, 2015, "Fast Algorithms for Convolutional Neural Networks"; `winograd_lines_int8` has the transforms.

A unit transforms the windows of its block of tiles in the thread's scratch, [positions][tiles][depth], once; then for
each panel of output channels the products, [positions][tiles][panel], and the outputs. A panel: [int32 bias]
[float32 multiplier][positions][depth in pairs][columns * lanes][2].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_int8 import finish
from edgenet.kernels.gemm_int8 import over_pixels
from edgenet.kernels.partition import block_start
from edgenet.kernels.places import row_places
from edgenet.kernels.simd import lane_count, lines_of, load_row_f32, prefetch_l2
from edgenet.kernels.simd_bytes import register_bytes
from edgenet.kernels.simd_convert import int_add
from edgenet.kernels.simd_int8 import load_i32, no_sums, store_sums
from edgenet.kernels.simd_outer import outer_word_dots
from edgenet.kernels.simd_tuples import as_tile
from edgenet.kernels.simd_winograd import load_along, load_widened_each, store_along
from edgenet.kernels.tuples import (
    each_add,
    each_and,
    each_choose,
    each_minimum,
    each_multiply,
    each_within,
    least,
    sequence,
)
from edgenet.kernels.winograd_lines_int8 import INPUT_LINE, OUTPUT_LINE, SUMS


def _window_transform(outputs: int) -> Any:
    """One window to `windows`, the positions `spread` bytes apart; `lines` is room for a register each."""
    input_line, window = INPUT_LINE[outputs], outputs + 2

    @njit(inline="always")
    def transform_window(image, line, first_y, first_x, lines, windows, spread):
        row_stride, depth, outside, height, width = image
        step = register_bytes() // 2
        rows = sequence(first_y, 1, window)
        rows_inside = each_within(rows, height)
        places = each_add(each_multiply(rows, row_stride), line)
        interior = first_y >= 0 and first_y + window <= height and first_x >= 0 and first_x + window <= width
        for start in range(0, depth, step):
            channel = least(start, depth - step)
            for column in range(window):
                d = each_add(places, (first_x + column) * depth + channel)
                if not interior:
                    inside = 0
                    if first_x + column >= 0 and first_x + column < width:
                        inside = 1
                    d = each_choose(each_and(rows_inside, inside), d, outside + channel)
                v = input_line(load_widened_each(d))
                store_along(v, lines + column * register_bytes(), window * register_bytes())
            for row in range(window):
                d = load_along(lines + row * window * register_bytes(), register_bytes(), window, 16)
                store_along(input_line(d), windows + row * window * spread + channel * 2, spread)

    return transform_window


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


def _tile_finisher(outputs: int) -> Any:
    """Outputs of one tile for a vector of channels, from its products, `spread` bytes apart.

    `head`: addresses of bias and multiplier; `pixels`: the numbers of a row's outputs, those that do not exist first,
    in the place of the last that does.
    """
    output_line, sums_of, window = OUTPUT_LINE[outputs], SUMS[outputs], outputs + 2

    @njit(inline="always")
    def finish_tile(products, spread, lines, head, tile_rows, pixels, out_width, y_stride, place, output):
        for column in range(window):
            z = output_line(load_along(products + column * spread, window * spread, window, 32))
            store_along(z, lines + column * register_bytes(), window * register_bytes())
        bias, multiplier = load_i32(head[0], 0), load_row_f32(head[1], 0, 1)
        for row in range(tile_rows):
            m = load_along(lines + row * window * register_bytes(), register_bytes(), window, 32)
            sums = sums_of(output_line(m), row)
            places = each_add(each_multiply(each_add(pixels, row * out_width), y_stride), output[2][0])
            finish(as_tile(int_add(sums, bias)), multiplier, places, place, output)

    return finish_tile


def winograd(rows: int, second: int, columns: int, outputs: int) -> Callable[..., None]:
    """y = requantized(convolution of x with 3x3 kernels, stride 1) with residual and activation.

    Unit: a block of tiles, of `outputs` in each dimension, times a span of panels; blocks begin at multiples of
    `quantum`. `outside` has the zero point. A thread's scratch: a register for each position, the windows
    (`window_spread` bytes from position to position, `window_stride` from tile to tile), the products
    (`product_spread`). `depth` is even, and half the bytes of a register at least.
    """
    product = _products(rows, second, columns)
    transform_window, finish_tile = _window_transform(outputs), _tile_finisher(outputs)
    positions = (outputs + 2) ** 2

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
        panel_bytes = panel_width * (8 + positions * depth * 2)
        settings = (
            y, residual, low, high, residual_zero, residual_multiplier, output_multiplier, activation, as_float,
        )  # fmt: skip
        output = (plain, (zero, smallest, largest), settings)
        image = (row_stride, depth, outside, height, width)
        lines = scratch + thread * scratch_bytes
        windows = lines + positions * register_bytes()
        products = windows + positions * window_spread
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
                    first_y = row % tiles_y * outputs - top
                    transform_window(image, line, first_y, column * outputs - left, lines, place, window_spread)
                prepared = block
            for panel in range(part * span, least(part * span + span, panels)):
                w = weights + panel * panel_bytes
                for position in range(positions):
                    source = windows + position * window_spread
                    matrix = w + panel_width * (8 + position * depth * 2)
                    job = (source, window_stride, matrix, depth // 2, products + position * product_spread)
                    product(job, 0, last - first)
                for tile in range(first, last):
                    row, column = tile // tiles_x, tile % tiles_x
                    tile_y = row % tiles_y * outputs
                    tile_rows = least(outputs, out_height - tile_y)
                    most = least(outputs, out_width - column * outputs) - 1
                    pixel = (row // tiles_y * out_height + tile_y) * out_width + column * outputs
                    pixels = each_add(each_minimum(sequence(outputs - 1, -1, outputs), most), pixel)
                    source = products + (tile - first) * panel_width * 4
                    for vector in range(columns):
                        channel = panel * panel_width + vector * lanes
                        count = channels - channel
                        if count > 0:
                            head = (w + vector * lanes * 4, w + (panel_width + vector * lanes) * 4)
                            place = (w, channel, count < lanes, count)
                            finish_tile(
                                source + vector * lanes * 4, product_spread, lines, head, tile_rows, pixels, out_width,
                                y_stride, place, output,
                            )  # fmt: skip

    return kernel

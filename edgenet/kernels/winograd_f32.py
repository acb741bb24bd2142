"""float32 Winograd convolution, 3x3: for F(4x4, 3x3), 36 products of small matrices instead of 144 taps for 16 outputs.

Lavin and Gray, 2015, "Fast Algorithms for Convolutional Neural Networks". Three steps: `transform_input` writes
[positions][tiles][channels], `products` multiplies each by its [channels][filters], `transform_output` writes the
image. `winograd_lines_f32` has the algorithms; the weights are transformed by `edgenet.prepare.lower_winograd`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_f32 import activate
from edgenet.kernels.gemm_f32 import FEW_SHARES, panel_product
from edgenet.kernels.partition import block_start
from edgenet.kernels.simd import add, lane_count, load_f32, load_tile_f32, store_tile_f32
from edgenet.kernels.simd_tuples import as_tile
from edgenet.kernels.simd_winograd import load_spread_f32, load_window_f32, store_spread_f32, transpose
from edgenet.kernels.tuples import each_add, each_minimum, each_multiply, each_within, least, sequence
from edgenet.kernels.winograd_lines_f32 import BACKWARDS, INPUT_LINES, LINE_OF, OUTPUT_LINES


def _input_tile(lines: Any, window: int, clipped: int) -> Any:
    @njit(inline="always")
    def tile(line, first_y, first_x, image, out, spread, channels):
        row_stride, pixel_stride, zeros, height, width = image
        lanes = lane_count()
        rows, columns = sequence(first_y, 1, window), sequence(first_x, 1, window)
        inside = (each_within(rows, height), each_within(columns, width))
        places = each_add(each_multiply(rows, row_stride), line)
        offsets = each_multiply(columns, pixel_stride)
        for block in range((channels + lanes - 1) // lanes):
            channel = least(block * lanes, channels - lanes) * 4
            d = load_window_f32(each_add(places, channel), offsets, inside, zeros, clipped)
            v = lines(transpose(lines(d)))
            store_spread_f32(transpose(v), out + channel, spread)

    return tile


def transform_input(outputs: int, stride: int) -> Callable[..., None]:
    """V = B^T d B of every window. Unit: one row of tiles of one image. At least as many channels as lanes."""
    lines, step = INPUT_LINES[outputs, stride], outputs * stride
    window = (outputs - 1) * stride + 3
    interior, clipped = _input_tile(lines, window, 0), _input_tile(lines, window, 1)

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
        y: int,
        spread: int,
        tiles_y: int,
        tiles_x: int,
        channels: int,
    ):
        image = (row_stride, pixel_stride, zeros, height, width)
        for unit in range(begin, end):
            first_y = (unit % tiles_y) * step - top
            line = x + (unit // tiles_y) * image_stride
            for tile in range(tiles_x):
                first_x = tile * step - left
                out = y + (unit * tiles_x + tile) * channels * 4
                if first_y >= 0 and first_y + window <= height and first_x >= 0 and first_x + window <= width:
                    interior(line, first_y, first_x, image, out, spread, channels)
                else:
                    clipped(line, first_y, first_x, image, out, spread, channels)

    return kernel


def products(rows: int, columns: int) -> Callable[..., None]:
    """M[i] = V[i] @ U[i] for all positions. Unit: a block of tiles of one panel of one position."""
    product = panel_product(rows, columns, most_shares=FEW_SHARES)

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        x_spread: int,
        y: int,
        y_spread: int,
        weights: int,
        weights_spread: int,
        tiles: int,
        depth: int,
        filters: int,
        blocks: int,
        low: float,
        high: float,
    ):
        width = columns * lane_count()
        panels = (filters + width - 1) // width
        for unit in range(begin, end):
            first = block_start(tiles, unit % blocks, blocks, 1)
            last = block_start(tiles, unit % blocks + 1, blocks, 1)
            panel = (unit // blocks) % panels
            position = unit // (blocks * panels)
            w = weights + position * weights_spread + panel * (depth + 1) * width * 4
            channel = panel * width
            following = w + (depth + 1) * width * 4
            operands = (x + position * x_spread, depth * 4, y + position * y_spread, filters * 4, 0, 0, following)
            product(operands, (low, high, 0), w, depth, first, last, channel, filters - channel)

    return kernel


def transform_output(outputs: int, stride: int) -> Callable[..., None]:
    """y = activation(A^T M A + bias + residual), at least as many filters as lanes. Unit: a row of tiles."""
    lines, line_of, window = OUTPUT_LINES[outputs, stride], LINE_OF[outputs], (outputs - 1) * stride + 3
    finish_line = line_finisher(outputs)

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        spread: int,
        bias: int,
        y: int,
        residual: int,
        out_height: int,
        out_width: int,
        tiles_y: int,
        tiles_x: int,
        filters: int,
        low: float,
        high: float,
        activation: int,
    ):
        lanes = lane_count()
        for unit in range(begin, end):
            first_y = (unit % tiles_y) * outputs
            rows = least(outputs, out_height - first_y)
            for tile in range(tiles_x):
                columns = least(outputs, out_width - tile * outputs)
                pixel = ((unit // tiles_y) * out_height + first_y) * out_width + tile * outputs
                source = x + (unit * tiles_x + tile) * filters * 4
                for block in range((filters + lanes - 1) // lanes):
                    channel = least(block * lanes, filters - lanes)
                    m = load_spread_f32(source + channel * 4, spread, window)
                    image = transpose(lines(transpose(lines(m))))
                    image = add(image, load_f32(bias, channel))
                    for row in range(rows):
                        finish_line(
                            line_of(image, row), y, residual, filters * 4, pixel + row * out_width, columns, channel,
                            low, high, activation,
                        )  # fmt: skip

    return kernel


def line_finisher(outputs: int) -> Any:
    """Stores a row of outputs; those beyond `columns` repeat the last one's place and are written first.

    `y` and `residual` (0: none) are addresses of pixels, number `pixel` of which is the row's first.
    """
    backwards = BACKWARDS[outputs]

    @njit(inline="always")
    def finish_line(line, y, residual, pixel_bytes, pixel, columns, channel, low, high, activation):
        pixels = each_add(each_minimum(sequence(outputs - 1, -1, outputs), columns - 1), pixel)
        offsets = each_multiply(pixels, pixel_bytes)
        tile = as_tile(backwards(line))
        if residual != 0:
            tile = add(tile, load_tile_f32(each_add(offsets, residual), channel, tile))
        store_tile_f32(activate(tile, low, high, activation), each_add(offsets, y), channel)

    return finish_line

"""float32 Winograd convolution F(4x4, 3x3): 36 products of small matrices instead of 144 taps for each 4x4 outputs.

Lavin and Gray, 2015, "Fast Algorithms for Convolutional Neural Networks", with the interpolation points
0, +-sqrt(1/2), +-sqrt(2) and infinity, which keep the rounding error low. Three steps: `transform_input` writes
[36][tiles][channels], `products` multiplies each by its [channels][filters], `transform_output` writes the image.
The weights are transformed by `edgenet.prepare.lower_winograd`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_f32 import activate
from edgenet.kernels.gemm_f32 import panel_product
from edgenet.kernels.partition import block_start
from edgenet.kernels.simd import add, fma, lane_count, load_f32, load_tile_f32, multiply, store_tile_f32, subtract
from edgenet.kernels.simd_tuples import as_tile
from edgenet.kernels.simd_winograd import load_spread_f32, load_window_f32, store_spread_f32, transpose
from edgenet.kernels.tuples import each_add, each_multiply, each_within, least, sequence

P, Q = 0.5**0.5, 2.0**0.5
_P3, _Q3 = P**3, Q**3


@njit(inline="always")
def _input_lines(d):
    """B^T d over the first index."""
    even_p, odd_p = fma(d[2], -2.0, d[4]), fma(d[1], -2.0, d[3])
    even_q, odd_q = fma(d[2], -0.5, d[4]), fma(d[1], -0.5, d[3])
    return (
        fma(d[2], -2.5, add(d[0], d[4])),
        fma(odd_p, P, even_p),
        fma(odd_p, -P, even_p),
        fma(odd_q, Q, even_q),
        fma(odd_q, -Q, even_q),
        fma(d[3], -2.5, add(d[1], d[5])),
    )


@njit(inline="always")
def _output_lines(m):
    """A^T m over the first index."""
    sum_p, difference_p = add(m[1], m[2]), subtract(m[1], m[2])
    sum_q, difference_q = add(m[3], m[4]), subtract(m[3], m[4])
    return (
        add(add(m[0], sum_p), sum_q),
        fma(difference_q, Q, multiply(difference_p, P)),
        fma(sum_q, 2.0, multiply(sum_p, 0.5)),
        add(fma(difference_q, _Q3, multiply(difference_p, _P3)), m[5]),
    )


def _input_tile(clipped: int) -> Any:
    @njit(inline="always")
    def tile(line, first_y, first_x, image, out, spread, channels):
        row_stride, pixel_stride, zeros, height, width = image
        lanes = lane_count()
        rows, columns = sequence(first_y, 1, 6), sequence(first_x, 1, 6)
        inside = (each_within(rows, height), each_within(columns, width))
        places = each_add(each_multiply(rows, row_stride), line)
        offsets = each_multiply(columns, pixel_stride)
        for block in range((channels + lanes - 1) // lanes):
            channel = least(block * lanes, channels - lanes) * 4
            d = load_window_f32(each_add(places, channel), offsets, inside, zeros, clipped)
            v = _input_lines(transpose(_input_lines(d)))
            store_spread_f32(transpose(v), out + channel, spread)

    return tile


def transform_input() -> Callable[..., None]:
    """V = B^T d B of every 6x6 window. Unit: one row of tiles of one image. At least as many channels as lanes."""
    interior, clipped = _input_tile(0), _input_tile(1)

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
            first_y = (unit % tiles_y) * 4 - top
            line = x + (unit // tiles_y) * image_stride
            for tile in range(tiles_x):
                first_x = tile * 4 - left
                out = y + (unit * tiles_x + tile) * channels * 4
                if first_y >= 0 and first_y + 6 <= height and first_x >= 0 and first_x + 6 <= width:
                    interior(line, first_y, first_x, image, out, spread, channels)
                else:
                    clipped(line, first_y, first_x, image, out, spread, channels)

    return kernel


def products(rows: int, columns: int) -> Callable[..., None]:
    """M[i] = V[i] @ U[i] for the 36 positions. Unit: a block of tiles of one panel of one position."""
    product = panel_product(rows, columns)

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


def transform_output() -> Callable[..., None]:
    """y = activation(A^T M A + bias + residual), at least as many filters as lanes. Unit: a row of tiles."""

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
            first_y = (unit % tiles_y) * 4
            rows = least(4, out_height - first_y)
            for tile in range(tiles_x):
                columns = least(4, out_width - tile * 4)
                pixel = ((unit // tiles_y) * out_height + first_y) * out_width + tile * 4
                source = x + (unit * tiles_x + tile) * filters * 4
                for block in range((filters + lanes - 1) // lanes):
                    channel = least(block * lanes, filters - lanes)
                    m = load_spread_f32(source + channel * 4, spread, 6)
                    image = transpose(_output_lines(transpose(_output_lines(m))))
                    image = add(image, load_f32(bias, channel))
                    for row in range(rows):
                        line = image[0]
                        if row == 1:
                            line = image[1]
                        if row == 2:
                            line = image[2]
                        if row == 3:
                            line = image[3]
                        _finish_line(
                            as_tile(line), y, residual, pixel + row * out_width, columns, filters, channel, low, high,
                            activation,
                        )  # fmt: skip

    return kernel


@njit(inline="always")
def _finish_line(line, y, residual, pixel, columns, filters, channel, low, high, activation):
    """Store up to 4 outputs of a row; those beyond `columns` repeat the last one's place and are written first."""
    pixels = (pixel + least(3, columns - 1), pixel + least(2, columns - 1), pixel + least(1, columns - 1), pixel)
    places = each_add(each_multiply(pixels, filters * 4), y)
    tile = (line[3], line[2], line[1], line[0])
    if residual != 0:
        before = each_add(each_multiply(pixels, filters * 4), residual)
        tile = add(tile, load_tile_f32(before, channel, tile))
    store_tile_f32(activate(tile, low, high, activation), places, channel)

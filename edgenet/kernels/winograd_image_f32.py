"""float32 Winograd convolution F(4x4, 3x3) of an image of few channels, such as a network's first layer.

All three steps of `winograd_f32` follow each other for `rows` tiles at a time, whose transformed values stay in the
first-level cache: there are as few products as transforms. The padding is part of the input (see `pad_image`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgenet.kernels.epilogue_f32 import activate
from edgenet.kernels.simd import add, lane_count, load_f32, repeat, splat_f32, store_tile_f32
from edgenet.kernels.simd_outer import outer_fmas
from edgenet.kernels.simd_tuples import as_tile
from edgenet.kernels.simd_winograd import load_along_f32, load_pairs_along_f32, made_here, store_along
from edgenet.kernels.subroutine import subroutine
from edgenet.kernels.table_float import IMAGE_TILE as TILE
from edgenet.kernels.tuples import least, places_along, sequence
from edgenet.kernels.winograd_f32 import line_finisher
from edgenet.kernels.winograd_lines_f32 import INPUT_FACTORS, OUTPUT_FACTORS, input_lines_4, output_lines_4

_WINDOW = TILE + 2
_POSITIONS = _WINDOW**2
_PIXEL_BYTES = 16
"""Bytes of a tile's transformed values at a position: room for four channels."""


def _transform_input(rows: int, depth: int) -> Any:
    """V = B^T d B of `rows` windows next to each other as [position][row][four channels]; `half` holds d B."""
    pixel, pixels = depth * 4, rows * _PIXEL_BYTES
    values = _WINDOW * rows * _PIXEL_BYTES // 4

    @subroutine
    def transform(arguments):
        place, row_stride, half, out = arguments
        factors = made_here(INPUT_FACTORS)
        for y in range(_WINDOW):
            for row in range(0, rows, 2):
                d = load_pairs_along_f32(place + row * TILE * pixel, TILE * pixel, pixel, _WINDOW)
                store_along(input_lines_4(d, factors), half + y * values * 4 + row * _PIXEL_BYTES, pixels)
            place += row_stride
        for i in range(0, values, lane_count()):
            d = load_along_f32(half + 4 * i, values * 4, _WINDOW)
            store_along(input_lines_4(d, factors), out + 4 * i, values * 4)

    return transform


def _products(rows: int, columns: int, depth: int) -> Any:
    """M = V @ U of a panel as [position][row][columns * lanes]."""

    @subroutine
    def products(arguments):
        x, weights, out = arguments
        step = columns * lane_count() * 4
        for _ in range(_POSITIONS):
            nothing = repeat(repeat(splat_f32(-0.0), columns), rows)  # what makes the first sums mere products
            sums = outer_fmas(nothing, sequence(x, _PIXEL_BYTES, rows), 0, weights, depth)
            store_tile_f32(sums, sequence(out, step, rows), 0)
            x += rows * _PIXEL_BYTES
            weights += depth * step
            out += rows * step

    return products


def _transform_output(rows: int, columns: int) -> Any:
    """activation(A^T M A + bias) of a panel, from `column` on: `height` rows, no columns beyond `width`."""
    finish_line = line_finisher(TILE)

    @subroutine
    def transform(arguments):
        source, bias, target, channel, column, height, width, low, high, activation = arguments
        y, row_stride, pixel_stride = target
        step = columns * lane_count() * 4
        factors = made_here(OUTPUT_FACTORS)
        low, high = made_here((low, high))
        for i in range(0, rows * columns * lane_count(), lane_count()):
            for j in range(_WINDOW):
                place = source + j * rows * step + 4 * i
                m = load_along_f32(place, _WINDOW * rows * step, _WINDOW)
                store_along(output_lines_4(m, factors), place, _WINDOW * rows * step)
        for tile in range(least(rows, (width - column + TILE - 1) // TILE)):
            count = least(width - column, TILE)
            for block in range(columns):
                place = source + tile * step + 4 * block * lane_count()
                shift, first = load_f32(bias, block * lane_count()), channel + block * lane_count()
                line = y
                for _ in range(height):
                    image = add(output_lines_4(load_along_f32(place, rows * step, _WINDOW), factors), shift)
                    if count == TILE:
                        pixels = places_along(line + column * pixel_stride + first * 4, pixel_stride, TILE)
                        store_tile_f32(activate(as_tile(image), low, high, activation), pixels, 0)
                    else:
                        finish_line(image, line, 0, pixel_stride, column, count, first, low, high, activation)
                    place += _WINDOW * rows * step
                    line += row_stride
            column += TILE

    return transform


def winograd_image(rows: int, columns: int, depth: int) -> Callable[..., None]:
    """Convolution 3x3 of stride 1 of an image of `depth` channels. Unit: a row of tiles of one image.

    Rows and columns of x reach to the end of the last of `rows` tiles. Weights are panels [bias, then positions x depth
    rows][columns * lanes], all of them full. A thread's scratch holds V, then M.
    """
    transform_input, products = _transform_input(rows, depth), _products(rows, columns, depth)
    transform_output = _transform_output(rows, columns)

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        image_stride: int,
        row_stride: int,
        y: int,
        y_stride: int,
        weights: int,
        scratch: int,
        scratch_bytes: int,
        out_height: int,
        out_width: int,
        tiles_y: int,
        channels: int,
        low: float,
        high: float,
        activation: int,
    ):
        width = columns * lane_count()
        panel_bytes = (_POSITIONS * depth + 1) * width * 4
        v = scratch + thread * scratch_bytes
        m = v + _POSITIONS * rows * _PIXEL_BYTES
        for unit in range(begin, end):
            image, first_y = unit // tiles_y, unit % tiles_y * TILE
            line = x + image * image_stride + first_y * row_stride
            out = y + (image * out_height + first_y) * out_width * y_stride
            target = (out, out_width * y_stride, y_stride)
            height = least(TILE, out_height - first_y)
            for column in range(0, out_width, rows * TILE):
                transform_input((line + column * depth * 4, row_stride, m, v))
                for panel in range(channels // width):
                    w = weights + panel * panel_bytes
                    products((v, w + width * 4, m))
                    transform_output((m, w, target, panel * width, column, height, out_width, low, high, activation))

    return kernel

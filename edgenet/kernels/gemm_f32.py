"""float32 matrix products: pointwise convolutions and linear layers.

The tile: `rows` pixels times `columns` vectors of output channels, kept in registers over the whole depth.
Weights are packed in panels of `columns` vectors: [panel][bias, then depth rows][columns * lanes]; the last panel is
only as many vectors wide as it needs (see `edgenet.prepare.packing`). The epilogue adds the residual and applies the
activation. A number of pixels that `rows` does not divide is made up of tiles of `rows` and of `rows - 1` pixels; a
last single pixel is a tile of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_f32 import finish, residual_rows
from edgenet.kernels.simd import lane_count, load_row_f32, outer_fma, repeat
from edgenet.kernels.tuples import each_add, each_minimum, each_multiply, least, sequence


def accumulator(columns: int) -> Any:
    """tile += x @ weights over `depth`: rows are the addresses of x, weights `columns` vectors for each k."""

    @njit(inline="always")
    def accumulate(tile, rows, depth, weights):
        step = columns * lane_count()
        for k in range(depth):
            tile = outer_fma(tile, rows, k, load_row_f32(weights, k * step, columns))
        return tile

    return accumulate


def pixel_rows(rows: int, columns: int) -> Any:
    """The pixels first..last-1 of one panel, in tiles of `rows`, or of `rows - 1` until `rows` divides what is left."""
    accumulate = accumulator(columns)
    less = max(rows - 1, 1)

    @njit(inline="always")
    def tile(x, xs, y, ys, r, rs, w, depth, pixel, last, channel, missing, count, low, high, activation, height):
        pixels = each_minimum(sequence(pixel, 1, height), last - 1)
        sums = repeat(load_row_f32(w, 0, columns), height)
        sums = accumulate(sums, each_add(each_multiply(pixels, xs), x), depth, w + columns * lane_count() * 4)
        out = each_add(each_multiply(pixels, ys), y)
        finish(sums, out, residual_rows(r, rs, pixels), channel, missing, count, low, high, activation)

    @njit(inline="always")
    def panel(x, xs, y, ys, r, rs, w, depth, first, last, channel, missing, count, low, high, activation):
        pixel = first
        while pixel < last:
            if (last - pixel) % rows == 0:
                tile(x, xs, y, ys, r, rs, w, depth, pixel, last, channel, missing, count, low, high, activation, rows)
                pixel += rows
            elif last - pixel == 1:
                tile(x, xs, y, ys, r, rs, w, depth, pixel, last, channel, missing, count, low, high, activation, 1)
                pixel += 1
            else:
                tile(x, xs, y, ys, r, rs, w, depth, pixel, last, channel, missing, count, low, high, activation, less)
                pixel += less

    return panel


def pointwise(rows: int, columns: int) -> Callable[..., None]:
    """y[p, n] = activation(sum_k x[p, k] w[n, k] + bias[n] + residual[p, n]).

    Unit: `block` pixels of `group` panels.
    """
    wide = pixel_rows(rows, columns)
    narrow = pixel_rows(rows, max(columns - 1, 1))
    single = pixel_rows(rows, 1)

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        x_stride: int,
        y: int,
        y_stride: int,
        residual: int,
        residual_stride: int,
        weights: int,
        pixels: int,
        depth: int,
        channels: int,
        block: int,
        group: int,
        low: float,
        high: float,
        activation: int,
    ):
        lanes = lane_count()
        width = columns * lanes
        panels = (channels + width - 1) // width
        groups = (panels + group - 1) // group
        for unit in range(begin, end):
            first = (unit // groups) * block
            last = least(first + block, pixels)
            start = (unit % groups) * group
            for panel in range(start, least(start + group, panels)):
                w = weights + panel * (depth + 1) * width * 4
                channel = panel * width
                count = channels - channel
                missing = count % lanes != 0 and count < width
                if columns == 1 or count > width - lanes:
                    wide(
                        x, x_stride, y, y_stride, residual, residual_stride, w, depth, first, last,
                        channel, missing, count, low, high, activation,
                    )  # fmt: skip
                elif columns > 2 and count > lanes:
                    narrow(
                        x, x_stride, y, y_stride, residual, residual_stride, w, depth, first, last,
                        channel, missing, count, low, high, activation,
                    )  # fmt: skip
                else:
                    single(
                        x, x_stride, y, y_stride, residual, residual_stride, w, depth, first, last,
                        channel, missing, count, low, high, activation,
                    )  # fmt: skip

    return kernel

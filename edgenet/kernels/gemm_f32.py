"""float32 matrix products: pointwise convolutions and linear layers, first layers, and standard convolution.

All share one tile: `rows` pixels times `columns` vectors of output channels, kept in registers over the whole depth.
Weights are packed in panels of `columns` vectors: [panel][bias, then depth rows][columns * lanes]; the last panel is
only as many vectors wide as it needs (see `edgenet.prepare.packing`). The epilogue adds the residual and applies the
activation. A number of pixels that `rows` does not divide is made up of tiles of `rows` and of `rows - 1` pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.simd import (
    add,
    clamp,
    lane_count,
    load_row_f32,
    load_tile_f32,
    multiply,
    outer_fma,
    repeat,
    store_tile_f32,
)
from edgenet.kernels.simd_masked import load_tile_partial, store_tile_partial
from edgenet.kernels.tuples import (
    each_add,
    each_and,
    each_choose,
    each_divide,
    each_minimum,
    each_multiply,
    each_remainder,
    each_within,
    least,
    sequence,
)

HARDSWISH = 1
"""Activation code of x * clamp(x + 3, 0, 6) / 6; code 0 is the clamp to low..high alone."""


@njit(inline="always")
def _activate(tile, low, high, activation):
    if activation == HARDSWISH:
        tile = multiply(multiply(tile, clamp(add(tile, 3.0), 0.0, 6.0)), 1.0 / 6.0)
    return clamp(tile, low, high)


@njit(inline="always")
def finish(tile, y, residual, channel, missing, count, low, high, activation):
    """Epilogue: residual, activation, store at `channel` of the rows y (`count` channels if some are missing)."""
    if missing:
        if residual[0] != 0:
            tile = add(tile, load_tile_partial(residual, channel, count, tile))
        store_tile_partial(_activate(tile, low, high, activation), y, channel, count)
    else:
        if residual[0] != 0:
            tile = add(tile, load_tile_f32(residual, channel, tile))
        store_tile_f32(_activate(tile, low, high, activation), y, channel)


@njit(inline="always")
def residual_rows(residual, stride, pixels):
    """Addresses of the residual's rows; all 0 when there is none."""
    return each_add(each_multiply(pixels, stride), residual)


def _accumulator(columns: int) -> Any:
    @njit(inline="always")
    def accumulate(tile, rows, depth, weights):
        step = columns * lane_count()
        for k in range(depth):
            tile = outer_fma(tile, rows, k, load_row_f32(weights, k * step, columns))
        return tile

    return accumulate


def _pointwise_rows(rows: int, columns: int) -> Any:
    """The pixels first..last-1 of one panel, in tiles of `rows`, or of `rows - 1` until `rows` divides what is left."""
    accumulate = _accumulator(columns)
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
            else:
                tile(x, xs, y, ys, r, rs, w, depth, pixel, last, channel, missing, count, low, high, activation, less)
                pixel += less

    return panel


def pointwise(rows: int, columns: int) -> Callable[..., None]:
    """y[p, n] = activation(sum_k x[p, k] w[n, k] + bias[n] + residual[p, n]).

    Unit: `block` pixels of `group` panels.
    """
    wide = _pointwise_rows(rows, columns)
    narrow = _pointwise_rows(rows, max(columns - 1, 1))
    single = _pointwise_rows(rows, 1)

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


def rows_convolution(rows: int, columns: int) -> Callable[..., None]:
    """Convolution whose kernel rows are contiguous in memory: few channels, no dilation, padding lies in the input.

    Unit: one output row. Each of `taps` kernel rows is a product of depth kernel_width * channels.
    """
    less = rows - 1

    def make(width_in_vectors: int) -> Any:
        accumulate = _accumulator(width_in_vectors)

        @njit(inline="always")
        def tile(
            x, xs, tap_stride, taps, y, ys, w, depth, pixel, last, channel, missing, count, low, high, act, height
        ):
            lanes = lane_count()
            pixels = each_minimum(sequence(pixel, 1, height), last - 1)
            sums = repeat(load_row_f32(w, 0, width_in_vectors), height)
            places = each_add(each_multiply(pixels, xs), x)
            place = w + width_in_vectors * lanes * 4
            for _ in range(taps):
                sums = accumulate(sums, places, depth, place)
                places = each_add(places, tap_stride)
                place += depth * width_in_vectors * lanes * 4
            none = each_multiply(pixels, 0)
            finish(sums, each_add(each_multiply(pixels, ys), y), none, channel, missing, count, low, high, act)

        @njit(inline="always")
        def line(x, xs, tap_stride, taps, y, ys, w, depth, last, channel, missing, count, low, high, act):
            pixel = 0
            while pixel < last:
                if (last - pixel) % rows == 0:
                    tile(
                        x, xs, tap_stride, taps, y, ys, w, depth, pixel, last, channel, missing, count, low, high, act,
                        rows,
                    )  # fmt: skip
                    pixel += rows
                else:
                    tile(
                        x, xs, tap_stride, taps, y, ys, w, depth, pixel, last, channel, missing, count, low, high, act,
                        less,
                    )  # fmt: skip
                    pixel += less

        return line

    wide, single = make(columns), make(1)

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        x_image_stride: int,
        x_row_stride: int,
        x_stride: int,
        tap_stride: int,
        taps: int,
        y: int,
        y_stride: int,
        weights: int,
        out_height: int,
        out_width: int,
        depth: int,
        channels: int,
        low: float,
        high: float,
        activation: int,
    ):
        lanes = lane_count()
        width = columns * lanes
        panels = (channels + width - 1) // width
        for unit in range(begin, end):
            place = x + (unit // out_height) * x_image_stride + (unit % out_height) * x_row_stride
            out = y + unit * out_width * y_stride
            for panel in range(panels):
                w = weights + panel * (depth * taps + 1) * width * 4
                channel = panel * width
                count = channels - channel
                missing = count % lanes != 0 and count < width
                if columns == 1 or count > lanes:
                    wide(
                        place, x_stride, tap_stride, taps, out, y_stride, w, depth, out_width, channel, missing, count,
                        low, high, activation,
                    )  # fmt: skip
                else:
                    single(
                        place, x_stride, tap_stride, taps, out, y_stride, w, depth, out_width, channel, missing, count,
                        low, high, activation,
                    )  # fmt: skip

    return kernel


def convolution(rows: int, columns: int) -> Callable[..., None]:
    """Standard or grouped convolution as an implicit matrix product: rows of the tile are addresses of input pixels.

    Pixels outside of the input read the vector of zeros at `zeros`. Unit: `block` output pixels of one panel. Every
    group of channels begins with a panel of its own, and all panels are `columns` vectors wide.
    """
    accumulate = _accumulator(columns)
    less = max(rows - 1, 1)

    @njit(inline="always")
    def tile(
        x, image_stride, row_stride, pixel_stride, zeros, height, width, kernel_height, kernel_width, stride_y,
        stride_x, dilation_y, dilation_x, top, left, out_height, out_width, y, y_stride, residual, residual_stride, w,
        depth, pixel, last, channel, missing, count, low, high, activation, tile_rows,
    ):  # fmt: skip
        step = depth * columns * lane_count() * 4
        pixels = each_minimum(sequence(pixel, 1, tile_rows), last - 1)
        line = each_divide(pixels, out_width)
        in_x = each_add(each_multiply(each_remainder(pixels, out_width), stride_x), -left)
        in_y = each_add(each_multiply(each_remainder(line, out_height), stride_y), -top)
        base = each_add(each_multiply(each_divide(line, out_height), image_stride), x)
        base = each_add(base, each_add(each_multiply(in_y, row_stride), each_multiply(in_x, pixel_stride)))
        sums = repeat(load_row_f32(w, 0, columns), tile_rows)
        place = w + columns * lane_count() * 4
        for tap_y in range(kernel_height):
            inside_y = each_within(each_add(in_y, tap_y * dilation_y), height)
            for tap_x in range(kernel_width):
                inside = each_and(inside_y, each_within(each_add(in_x, tap_x * dilation_x), width))
                offset = tap_y * dilation_y * row_stride + tap_x * dilation_x * pixel_stride
                sums = accumulate(sums, each_choose(inside, each_add(base, offset), zeros), depth, place)
                place += step
        out = each_add(each_multiply(pixels, y_stride), y)
        finish(
            sums, out, residual_rows(residual, residual_stride, pixels), channel, missing, count, low, high, activation
        )

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
        residual_stride: int,
        weights: int,
        pixels: int,
        depth: int,
        group_channels: int,
        groups: int,
        block: int,
        low: float,
        high: float,
        activation: int,
    ):
        lanes = lane_count()
        panel_width = columns * lanes
        group_panels = (group_channels + panel_width - 1) // panel_width
        panels = group_panels * groups
        panel_bytes = (depth * kernel_height * kernel_width + 1) * panel_width * 4
        for unit in range(begin, end):
            first = (unit // panels) * block
            last = least(first + block, pixels)
            panel = unit % panels
            group = panel // group_panels
            in_group = (panel % group_panels) * panel_width
            count = group_channels - in_group
            channel = group * group_channels + in_group
            place = x + group * depth * 4
            w = weights + panel * panel_bytes
            missing = count < panel_width
            pixel = first
            while pixel < last:
                if (last - pixel) % rows == 0:
                    tile(
                        place, image_stride, row_stride, pixel_stride, zeros, height, width, kernel_height,
                        kernel_width, stride_y, stride_x, dilation_y, dilation_x, top, left, out_height, out_width, y,
                        y_stride, residual, residual_stride, w, depth, pixel, last, channel, missing, count, low, high,
                        activation, rows,
                    )  # fmt: skip
                    pixel += rows
                else:
                    tile(
                        place, image_stride, row_stride, pixel_stride, zeros, height, width, kernel_height,
                        kernel_width, stride_y, stride_x, dilation_y, dilation_x, top, left, out_height, out_width, y,
                        y_stride, residual, residual_stride, w, depth, pixel, last, channel, missing, count, low, high,
                        activation, less,
                    )  # fmt: skip
                    pixel += less

    return kernel

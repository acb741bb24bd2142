"""float32 standard and grouped convolution as an implicit matrix product, and the first layer of a network.

The tile is that of `gemm_f32`; its rows are addresses of input pixels, another set for each tap of the kernel. Weights
are packed in panels [bias, then kernel_height x kernel_width x depth rows][columns * lanes]; every group of channels
begins with a panel of its own, whose last is only as many vectors wide as it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_f32 import finish, finisher_along
from edgenet.kernels.gemm_f32 import (
    LINE_BYTES,
    accumulator,
    accumulator_ahead,
    accumulator_along,
    lines_ahead,
    tiles_before,
)
from edgenet.kernels.partition import block_start, unit_place
from edgenet.kernels.places import row_places, window_places
from edgenet.kernels.simd import lane_count, load_row_f32, repeat
from edgenet.kernels.simd_outer import TURN
from edgenet.kernels.simd_types import row_lanes
from edgenet.kernels.subroutine import subroutine
from edgenet.kernels.tuples import each_add, each_and, each_choose, each_within, least


def _tile(height_in_rows: int, columns: int) -> Any:
    """A tile, which asks for a share of the panel that follows."""
    lines, shares = lines_ahead(height_in_rows, columns)
    accumulate = accumulator_ahead(columns, lines)

    @subroutine
    def tile(arguments):
        image, window, target, w, depth, pixel, last, channel, missing, count, number = arguments
        _, _, row_stride, pixel_stride, zeros, height, width = image
        kernel_height, kernel_width, _, _, dilation_y, dilation_x, _, _, _, _ = window
        y, y_stride, residual, residual_stride, low, high, activation = target
        step = depth * columns * lane_count() * 4
        in_x, in_y, base = window_places(image, window, pixel, last, height_in_rows)
        sums = repeat(load_row_f32(w, 0, columns), height_in_rows)
        place = w + columns * lane_count() * 4
        share = depth // TURN * lines * LINE_BYTES
        ahead = place + kernel_height * kernel_width * (step + number % shares * share)
        for tap_y in range(kernel_height):
            inside_y = each_within(each_add(in_y, tap_y * dilation_y), height)
            for tap_x in range(kernel_width):
                inside = each_and(inside_y, each_within(each_add(in_x, tap_x * dilation_x), width))
                offset = tap_y * dilation_y * row_stride + tap_x * dilation_x * pixel_stride
                sums = accumulate(sums, each_choose(inside, each_add(base, offset), zeros), depth, place, ahead)
                place += step
                ahead += share
        out = row_places(y, y_stride, pixel, last, height_in_rows)
        before = row_places(residual, residual_stride, pixel, last, height_in_rows)
        finish(sums, out, before, channel, missing, count, low, high, activation)

    return tile


def _panel(rows: int, columns: int) -> Any:
    """Output pixels first..last-1 of one panel in tiles of `rows`, or of `rows - 1` until `rows` divides the rest."""
    less = max(rows - 1, 1)
    tall, short = _tile(rows, columns), _tile(less, columns)

    @njit(inline="always")
    def panel(image, window, target, w, depth, first, last, channel, missing, count):
        pixel, number = first, tiles_before(first, rows)
        while pixel < last:
            if (last - pixel) % rows == 0:
                tall((image, window, target, w, depth, pixel, last, channel, missing, count, number))
                pixel += rows
            else:
                short((image, window, target, w, depth, pixel, last, channel, missing, count, number))
                pixel += less
            number += 1

    return panel


def _product(rows: int, columns: int) -> Any:
    """One panel of 1 to `columns` vectors (at most 4)."""
    four = _panel(rows, 4) if columns >= 4 else None
    three = _panel(rows, 3) if columns >= 3 else None
    two, one = _panel(rows, 2), _panel(rows, 1)

    @njit(inline="always")
    def narrow(image, window, target, w, depth, first, last, channel, missing, count, vectors):
        if vectors == 2:
            two(image, window, target, w, depth, first, last, channel, missing, count)
        else:
            one(image, window, target, w, depth, first, last, channel, missing, count)

    @njit(inline="always")
    def wide(image, window, target, w, depth, first, last, channel, missing, count, vectors):
        if vectors == 4:
            four(image, window, target, w, depth, first, last, channel, missing, count)
        elif vectors == 3:
            three(image, window, target, w, depth, first, last, channel, missing, count)
        else:
            narrow(image, window, target, w, depth, first, last, channel, missing, count, vectors)

    return wide if columns == 4 else narrow


def convolution(rows: int, columns: int) -> Callable[..., None]:
    """Convolution of any kernel, stride, padding, dilation and groups. Unit: see `partition`.

    `depth` and `group_channels` are a group's input and output channels; pixels outside of the input read `zeros`.
    """
    product = _product(rows, columns)

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
        group_bytes: int,
        groups: int,
        blocks: int,
        spans: int,
        span: int,
        by_panel: int,
        quantum: int,
        low: float,
        high: float,
        activation: int,
    ):
        lanes = lane_count()
        panel_width = columns * lanes
        group_panels = (group_channels + panel_width - 1) // panel_width
        panels = group_panels * groups
        panel_bytes = (depth * kernel_height * kernel_width + 1) * panel_width * 4
        window = (
            kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x, top, left, out_height, out_width,
        )  # fmt: skip
        target = (y, y_stride, residual, residual_stride, low, high, activation)
        for unit in range(begin, end):
            block, part = unit_place(unit, blocks, spans, by_panel)
            first = block_start(pixels, block, blocks, quantum)
            last = block_start(pixels, block + 1, blocks, quantum)
            for panel in range(part * span, least(part * span + span, panels)):
                group = panel // group_panels
                in_group = (panel % group_panels) * panel_width
                count = group_channels - in_group
                channel = group * group_channels + in_group
                image = (x + group * depth * 4, image_stride, row_stride, pixel_stride, zeros, height, width)
                w = weights + group * group_bytes + (panel % group_panels) * panel_bytes
                vectors = least((count + lanes - 1) // lanes, columns)
                missing = count < vectors * lanes
                product(image, window, target, w, depth, first, last, channel, missing, count, vectors)

    return kernel


def _line_tiles(height: int, columns: int) -> Any:
    """The pixels pixel..last-1 of an output row, whose number `height` divides."""
    accumulate, finish_along = accumulator_along(height, columns), finisher_along(height)
    width = row_lanes(columns)

    @subroutine
    def tiles(arguments):
        source, target, w, pixel, last, channel, missing, count = arguments
        x, pixel_step, tap_stride, taps, depth = source
        y, y_stride, residual, residual_stride, low, high, activation = target
        place, out = x + pixel * pixel_step, y + pixel * y_stride + channel * 4
        before, residual_step = 0, 0
        if residual != 0:
            before = residual + pixel * residual_stride + channel * 4
            residual_step = height * residual_stride
        for _ in range(pixel, last, height):
            sums = repeat(load_row_f32(w, 0, columns), height)
            for tap in range(taps):
                weights = w + (1 + tap * depth) * width * 4
                sums = accumulate(sums, place + tap * tap_stride, pixel_step, depth, weights, weights)
            finish_along(sums, out, y_stride, before, residual_stride, missing, count, low, high, activation)
            place += height * pixel_step
            out += height * y_stride
            before += residual_step

    return tiles


def _last_line_tile(height: int, columns: int) -> Any:
    """A tile that may reach behind the last pixel of an output row."""
    accumulate = accumulator(columns)

    @subroutine
    def tile(arguments):
        source, target, w, pixel, last, channel, missing, count = arguments
        x, pixel_step, tap_stride, taps, depth = source
        y, y_stride, residual, residual_stride, low, high, activation = target
        sums = repeat(load_row_f32(w, 0, columns), height)
        places = row_places(x, pixel_step, pixel, last, height)
        place = w + columns * lane_count() * 4
        for _ in range(taps):
            sums = accumulate(sums, places, depth, place)
            places = each_add(places, tap_stride)
            place += depth * columns * lane_count() * 4
        out = row_places(y, y_stride, pixel, last, height)
        before = row_places(residual, residual_stride, pixel, last, height)
        finish(sums, out, before, channel, missing, count, low, high, activation)

    return tile


def _line(rows: int, columns: int) -> Any:
    less = max(rows - 1, 1)
    tall, short = _line_tiles(rows, columns), _last_line_tile(less, columns)

    @njit(inline="always")
    def line(source, target, w, last, channel, missing, count):
        pixel = 0
        while pixel < last and (last - pixel) % rows != 0:
            short((source, target, w, pixel, last, channel, missing, count))
            pixel += less
        if pixel < last:
            tall((source, target, w, pixel, last, channel, missing, count))

    return line


def image_convolution(rows: int, columns: int) -> Callable[..., None]:
    """Convolution of an image with few channels whose padding is part of the input (see `pad_image`), without dilation.

    A kernel row is `depth` = kernel_width * channels adjacent values; there are `taps` of them. Unit: one output row.
    """
    wide, single = _line(rows, columns), _line(rows, 1)

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        image_stride: int,
        row_step: int,
        pixel_step: int,
        tap_stride: int,
        taps: int,
        depth: int,
        y: int,
        y_stride: int,
        residual: int,
        residual_stride: int,
        weights: int,
        out_height: int,
        out_width: int,
        channels: int,
        low: float,
        high: float,
        activation: int,
    ):
        lanes = lane_count()
        width = columns * lanes
        panels = (channels + width - 1) // width
        for unit in range(begin, end):
            place = x + (unit // out_height) * image_stride + (unit % out_height) * row_step
            source = (place, pixel_step, tap_stride, taps, depth)
            before = residual
            if residual != 0:
                before = residual + unit * out_width * residual_stride
            target = (y + unit * out_width * y_stride, y_stride, before, residual_stride, low, high, activation)
            for panel in range(panels):
                w = weights + panel * (depth * taps + 1) * width * 4
                channel = panel * width
                count = channels - channel
                missing = count % lanes != 0 and count < width
                if columns == 1 or count > lanes:
                    wide(source, target, w, out_width, channel, missing, count)
                else:
                    single(source, target, w, out_width, channel, missing, count)

    return kernel

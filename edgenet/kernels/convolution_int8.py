"""int8 standard and grouped convolution as an implicit matrix product.

The tile and the panels are those of `gemm_int8`; every group of channels begins with a panel of its own, and each tap's
depth is filled up to whole groups of products. Where the input lies as products take it (bytes in groups of four), the
tile reads it itself, another set of row addresses for each tap; else a unit first gathers its pixels' taps, widened to
int16, in the thread's scratch.
A tap outside of the input reads a row that holds the zero point; a kernel row that lies outside for a whole tile is
summed once for all of its pixels, or left out where the zero point is stored as 0.
An image of few channels has its padding around it, as products take it, so that each kernel row is a single tap, which
the tile reads without looking at borders.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_int8 import finish
from edgenet.kernels.gemm_int8 import (
    accumulator,
    first_output,
    of_whole_vectors,
    over_pixels,
    row_product,
    row_widener,
)
from edgenet.kernels.native import load_word
from edgenet.kernels.partition import block_start, unit_place
from edgenet.kernels.places import row_places, window_places
from edgenet.kernels.simd import lane_count, load_row_f32, repeat
from edgenet.kernels.simd_int8 import load_row_i32
from edgenet.kernels.simd_types import row_lanes
from edgenet.kernels.table_int8 import FROM_INPUT, FROM_PADDED, FROM_SCRATCH
from edgenet.kernels.tuples import (
    each_add,
    each_and,
    each_choose,
    each_within,
    greatest,
    least,
    places_along,
    sequence,
)

_AHEAD = 2048
"""Bytes between the weights in use and those asked for: the panels of large kernels come from a slow cache."""


def _window_product(rows: int, second: int, columns: int, widened: bool) -> Any:
    """The pixels first..last-1 of one panel, read from the image."""
    accumulate = accumulator(columns, _AHEAD)

    @njit(inline="always")
    def tile(job, pixel, last, height_in_rows):
        source, target, output, place = job
        image, window = source
        x, image_stride, row_stride, pixel_stride, outside, height, width, groups = image
        kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x, top, left, out_height, out_width = (
            window
        )
        w = place[0]
        panel_width = columns * lane_count()
        line = pixel // out_width
        column = pixel - line * out_width
        in_x, in_y = column * stride_x - left, (line % out_height) * stride_y - top
        row_bytes = kernel_width * groups * panel_width * 4
        first_row, last_row = 0, kernel_height
        together = column + height_in_rows <= out_width and pixel + height_in_rows <= last
        if together and dilation_y == 1:
            first_row = least(greatest(0, -in_y), kernel_height)
            last_row = greatest(least(kernel_height, height - in_y), first_row)
        within = together and in_x >= 0 and in_x + (height_in_rows - 1) * stride_x + kernel_width <= width
        adjacent = kernel_width == 1 or (dilation_x == 1 and pixel_stride == groups * 4)
        start = repeat(load_row_i32(w, 0, columns), 1)
        if load_word(outside) != 0:
            tap = w + 8 * panel_width
            for tap_y in range(kernel_height - (last_row - first_row)):
                if tap_y == first_row:
                    tap += (last_row - first_row) * row_bytes
                for _ in range(kernel_width):
                    start = accumulate(start, sequence(outside, 0, 1), groups, tap)
                    tap += groups * panel_width * 4
        sums = repeat(start[0], height_in_rows)
        tap = w + 8 * panel_width + first_row * row_bytes
        if within and adjacent and dilation_y == 1:
            window_start = x + (line // out_height) * image_stride + (in_y + first_row) * row_stride
            places = row_places(
                window_start - left * pixel_stride, stride_x * pixel_stride, column, out_width, height_in_rows
            )
            for _ in range(first_row, last_row):
                sums = accumulate(sums, places, groups * kernel_width, tap)
                places = each_add(places, row_stride)
                tap += row_bytes
        else:
            columns_in, rows_in, base = window_places(image, window, pixel, last, height_in_rows)
            for tap_y in range(first_row, last_row):
                inside_y = each_within(each_add(rows_in, tap_y * dilation_y), height)
                for tap_x in range(kernel_width):
                    inside = each_and(inside_y, each_within(each_add(columns_in, tap_x * dilation_x), width))
                    offset = tap_y * dilation_y * row_stride + tap_x * dilation_x * pixel_stride
                    sums = accumulate(sums, each_choose(inside, each_add(base, offset), outside), groups, tap)
                    tap += groups * panel_width * 4
        out = row_places(target[0], target[1], pixel, last, height_in_rows)
        finish(sums, load_row_f32(w, panel_width, columns), out, place, output)

    return over_pixels(tile, rows, second)


def _padded_product(rows: int, second: int, columns: int, widened: bool) -> Any:
    """The pixels first..last-1 of one panel, read from an image with its padding, of which a kernel row is one tap."""
    accumulate, width = accumulator(columns, _AHEAD), row_lanes(columns)

    @njit(inline="always")
    def sums_of(places, source, w, height):
        image, window = source
        row_stride, groups, kernel_height, dilation_y = image[2], image[7], window[0], window[4]
        sums = repeat(load_row_i32(w, 0, columns), height)
        tap = w + 8 * width
        for _ in range(kernel_height):
            sums = accumulate(sums, places, groups, tap)
            places = each_add(places, dilation_y * row_stride)
            tap += groups * width * 4
        return sums

    @njit(inline="always")
    def tile(job, pixel, last, height):
        source, target, output, place = job
        _, _, places = window_places(source[0], source[1], pixel, last, height)
        sums = sums_of(places, source, place[0], height)
        out = row_places(target[0], target[1], pixel, last, height)
        finish(sums, load_row_f32(place[0], width, columns), out, place, output)

    @njit(inline="always")
    def whole_tiles(job, pixel, last, height):
        source, target, output, place = job
        image, window = source
        x, image_stride, row_stride, pixel_stride, _, _, _, _ = image
        _, _, stride_y, stride_x, _, _, _, _, out_height, out_width = window
        out, place = first_output(target, output, place, pixel)
        column, start, step = out_width, x, stride_x * pixel_stride
        for first in range(pixel, last, height):
            if column >= out_width:
                line = first // out_width
                column = first - line * out_width
                start = x + (line // out_height) * image_stride + (line % out_height) * stride_y * row_stride
                start += column * step
            places = sequence(start, step, height)
            if column + height > out_width:
                _, _, places = window_places(image, window, first, last, height)
            sums = sums_of(places, source, place[0], height)
            rows_of_y = places_along(out, target[1], height)
            finish(sums, load_row_f32(place[0], width, columns), rows_of_y, place, output)
            column += height
            start += height * step
            out += height * target[1]

    return over_pixels(tile, rows, second, whole_tiles)


def gatherer(take_row: Any) -> Any:
    """Takes the taps of the pixels first..last-1 into rows of `own`, `tap_bytes` from one tap to the next.

    `take_row(source, destination, count)` takes a tap's `count` bytes and may write more.
    """

    @njit(inline="always")
    def gather(image, window, own, own_stride, depth, tap_bytes, first, last):
        x, image_stride, row_stride, pixel_stride, outside, height, width, _ = image
        kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x, top, left, out_height, out_width = (
            window
        )
        for pixel in range(first, last):
            line = pixel // out_width
            in_x = (pixel % out_width) * stride_x - left
            in_y = (line % out_height) * stride_y - top
            base = x + (line // out_height) * image_stride + in_y * row_stride + in_x * pixel_stride
            destination = own + (pixel - first) * own_stride
            for tap_y in range(kernel_height):
                inside_y = 0 <= in_y + tap_y * dilation_y < height
                for tap_x in range(kernel_width):
                    place = outside
                    if inside_y and 0 <= in_x + tap_x * dilation_x < width:
                        place = base + tap_y * dilation_y * row_stride + tap_x * dilation_x * pixel_stride
                    take_row(place, destination, depth)
                    destination += tap_bytes

    return gather


def convolution(rows: int, second: int, columns: int, reads: int) -> Callable[..., None]:
    """Convolution of any kernel, stride, padding, dilation and groups. Unit: see `partition`.

    `reads` is FROM_INPUT where x lies as products take it, in groups of four bytes, FROM_SCRATCH where a unit widens
    what it reads, FROM_PADDED where x is an image with its padding: kernel_width is 1 then, top and left are 0, and
    `outside`, height and width are not looked at.
    `depth` and `group_channels` are the input and output channels of one of the `conv_groups`; `groups` is a tap's
    depth in groups of products. Pixels outside of the input are read from `outside`.
    """
    widened = reads == FROM_SCRATCH
    product = {FROM_INPUT: _window_product, FROM_SCRATCH: row_product, FROM_PADDED: _padded_product}[reads]
    of_panel = of_whole_vectors(product(rows, second, columns, widened), product(rows, second, 1, widened), columns)
    gather = gatherer(row_widener())

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        image_stride: int,
        row_stride: int,
        pixel_stride: int,
        outside: int,
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
        weights: int,
        scratch: int,
        scratch_stride: int,
        scratch_bytes: int,
        pixels: int,
        depth: int,
        groups: int,
        group_channels: int,
        packed_bytes: int,
        conv_groups: int,
        blocks: int,
        spans: int,
        span: int,
        by_panel: int,
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
        panel_width = columns * lane_count()
        panels = (group_channels + panel_width - 1) // panel_width
        row_groups = groups * kernel_height * kernel_width
        panel_bytes = panel_width * (8 + row_groups * 4)
        window = (
            kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x, top, left, out_height, out_width,
        )  # fmt: skip
        target = (y, y_stride)
        settings = (
            y, residual, low, high, residual_zero, residual_multiplier, output_multiplier, activation, as_float,
        )  # fmt: skip
        output = (plain, (zero, smallest, largest), settings)
        own = scratch + thread * scratch_bytes
        for unit in range(begin, end):
            block, part = unit_place(unit, blocks, spans * conv_groups, by_panel)
            first = block_start(pixels, block, blocks, quantum)
            last = block_start(pixels, block + 1, blocks, quantum)
            conv_group = part // spans
            image = (x + conv_group * depth, image_stride, row_stride, pixel_stride, outside, height, width, groups)
            if widened:
                gather(image, window, own, scratch_stride, depth, groups * 4, first, last)
            start = (part % spans) * span
            for panel in range(start, least(start + span, panels)):
                count = group_channels - panel * panel_width
                channel = conv_group * group_channels + panel * panel_width
                w = weights + conv_group * packed_bytes + panel * panel_bytes
                if widened:
                    of_panel((own, scratch_stride, first, row_groups), target, output, w, channel, count, first, last)
                else:
                    of_panel((image, window), target, output, w, channel, count, first, last)

    return kernel

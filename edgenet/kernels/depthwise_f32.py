"""float32 depthwise convolution, vectorised over channels.

One output row at a time, or two adjacent ones, in tiles of `columns` outputs (or of one fewer, or small ones at the
end); for each tile a group of channel blocks, or all. Columns in the padding read a vector of zeros: at either end of a
tile as many as half the kernel is wide, at most. Rows outside the input are left out (of a pair, read as zeros). The
last channel block is moved back to end with the last channel. Weights are packed
[block][bias, then kernel_height x kernel_width][lanes].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_f32 import activate
from edgenet.kernels.simd import add, lane_count, load_f32, load_row_f32, load_tile_f32, repeat, store_tile_f32
from edgenet.kernels.simd_depthwise import convolve_row_f32, convolve_row_partial_f32, convolve_rows_f32
from edgenet.kernels.simd_masked import load_tile_partial, store_tile_partial
from edgenet.kernels.simd_tuples import as_tile
from edgenet.kernels.subroutine import subroutine
from edgenet.kernels.tuples import (
    choose_at_ends,
    each_add,
    each_within,
    greatest,
    least,
    places_along,
    sequence,
)


def _tile(kernel_width: int, step: int, count: int, clipped: bool, partial: bool) -> Any:
    """Outputs first..first+count-1 of one row, all channel blocks."""
    span, ends = (count - 1) * step + kernel_width, kernel_width // 2

    @subroutine
    def tile(arguments):
        source, window, target, first = arguments
        x, row_stride, pixel_stride, zeros, width = source
        left, top_tap, taps, in_y = window
        y, y_stride, residual, residual_stride, weights, kernel_height, blocks, channels, low, high, activation = target
        lanes = lane_count()
        columns = sequence(first * step - left, 1, span)
        inside = each_within(columns, width)
        block_bytes = (kernel_height * kernel_width + 1) * lanes * 4
        row = x + in_y * row_stride + (first * step - left) * pixel_stride
        y_places = sequence(y + first * y_stride, y_stride, count)
        r_places = sequence(residual + first * residual_stride, residual_stride, count)
        for block in range(blocks[0], blocks[1]):
            channel = block * lanes
            if not partial:
                channel = least(channel, channels - lanes)
            w = weights + block * block_bytes
            sums = repeat(load_f32(w, 0), count)
            w += (top_tap * kernel_width + 1) * lanes * 4
            line = row + channel * 4
            for _ in range(taps):
                places = places_along(line, pixel_stride, span)
                if clipped:
                    places = choose_at_ends(inside, places, zeros, ends)
                if partial:
                    sums = convolve_row_partial_f32(sums, places, load_row_f32(w, 0, kernel_width), step, channels)
                else:
                    sums = convolve_row_f32(sums, places, load_row_f32(w, 0, kernel_width), step)
                line += row_stride
                w += kernel_width * lanes * 4
            result = as_tile(sums)
            if partial:
                if residual != 0:
                    result = add(result, load_tile_partial(r_places, channel, channels, result))
                store_tile_partial(activate(result, low, high, activation), y_places, channel, channels)
            else:
                if residual != 0:
                    result = add(result, load_tile_f32(r_places, channel, result))
                store_tile_f32(activate(result, low, high, activation), y_places, channel)

    return tile


def _pair(kernel_width: int, step: int, count: int, clipped: bool) -> Any:
    """Outputs first..first+count-1 of two adjacent rows, all channel blocks; what both rows need is loaded once.

    `clipped`: rows and columns outside the input read zeros.
    """
    span, ends = (count - 1) * step + kernel_width, kernel_width // 2

    @njit(inline="always")
    def at(line, row, pixel_stride, inside, zeros, height):
        if clipped:
            if row < 0 or row >= height:
                line = zeros
                pixel_stride = 0
            return choose_at_ends(inside, places_along(line, pixel_stride, span), zeros, ends)
        return places_along(line, pixel_stride, span)

    @subroutine
    def pair(arguments):
        source, window, target, y_row, residual_row, first = arguments
        x, row_stride, pixel_stride, zeros, width, height = source
        left, stride_y, top = window
        y, y_stride, residual, residual_stride, weights, kernel_height, blocks, channels, low, high, activation = target
        lanes = lane_count()
        columns = sequence(first * step - left, 1, span)
        inside = each_within(columns, width)
        from_column = x + top * row_stride + (first * step - left) * pixel_stride
        row_bytes = kernel_width * lanes * 4
        shift = stride_y * row_bytes
        y_places = sequence(y + first * y_stride, y_stride, count)
        r_places = sequence(residual + first * residual_stride, residual_stride, count)
        for block in range(blocks[0], blocks[1]):
            channel = least(block * lanes, channels - lanes)
            w = weights + block * (kernel_height * row_bytes + lanes * 4)
            upper = repeat(load_f32(w, 0), count)
            lower = upper
            w += lanes * 4
            line = from_column + channel * 4
            row = top
            for _ in range(stride_y):
                places = at(line, row, pixel_stride, inside, zeros, height)
                upper = convolve_row_f32(upper, places, load_row_f32(w, 0, kernel_width), step)
                line += row_stride
                row += 1
                w += row_bytes
            for _ in range(kernel_height - stride_y):
                places = at(line, row, pixel_stride, inside, zeros, height)
                taps = load_row_f32(w, 0, kernel_width)
                upper, lower = convolve_rows_f32(
                    (upper, lower), places, (taps, load_row_f32(w - shift, 0, kernel_width)), step
                )
                line += row_stride
                row += 1
                w += row_bytes
            for _ in range(stride_y):
                places = at(line, row, pixel_stride, inside, zeros, height)
                lower = convolve_row_f32(lower, places, load_row_f32(w - shift, 0, kernel_width), step)
                line += row_stride
                row += 1
                w += row_bytes
            above = as_tile(upper)
            below = as_tile(lower)
            if residual != 0:
                above = add(above, load_tile_f32(r_places, channel, above))
                below = add(below, load_tile_f32(each_add(r_places, residual_row), channel, below))
            store_tile_f32(activate(above, low, high, activation), y_places, channel)
            store_tile_f32(activate(below, low, high, activation), each_add(y_places, y_row), channel)

    return pair


def depthwise(kernel_width: int, step: int, columns: int, partial: int, pairs: int) -> Callable[..., None]:
    """Depthwise convolution of `kernel_width` columns, horizontal stride `step`, no dilation. Unit: one output row.

    All rows of `group` blocks of channels are computed before those of the next blocks. `partial`: fewer channels than
    lanes; all accesses are masked. `pairs`: where the slot `paired` asks for it, two rows at a time, of at least
    `columns` - 1 outputs; kernel_height >= stride_y.
    """
    less = columns - 1
    wide = _tile(kernel_width, step, columns, False, bool(partial))
    wide_clipped = _tile(kernel_width, step, columns, True, bool(partial))
    narrow = _tile(kernel_width, step, less, False, bool(partial))
    narrow_clipped = _tile(kernel_width, step, less, True, bool(partial))
    four = _tile(kernel_width, step, 4, True, bool(partial))
    single = _tile(kernel_width, step, 1, True, bool(partial))
    wide_pair = _pair(kernel_width, step, columns, False)
    wide_pair_clipped = _pair(kernel_width, step, columns, True)
    narrow_pair = _pair(kernel_width, step, less, False)
    narrow_pair_clipped = _pair(kernel_width, step, less, True)

    @njit(inline="always")
    def one_row(image, window, target, out_width):
        """One row of outputs. `window`: left padding, first row of the kernel that meets the image, how many, where."""
        _, _, _, _, width = image
        left = window[0]
        first = 0
        while first < out_width:
            missing = out_width - first
            if missing % columns == 0:
                count = columns
            elif missing >= less:
                count = less
            elif out_width >= less:
                count = less
                first = out_width - less
            elif missing >= 4:
                count = 4
            elif out_width >= 4:
                count = 4
                first = out_width - 4
            else:
                count = 1
            from_x = first * step - left
            inside = from_x >= 0 and (first + count - 1) * step - left + kernel_width <= width
            if count == columns:
                if inside:
                    wide((image, window, target, first))
                else:
                    wide_clipped((image, window, target, first))
            elif count == less:
                if inside:
                    narrow((image, window, target, first))
                else:
                    narrow_clipped((image, window, target, first))
            elif count == 4:
                four((image, window, target, first))
            else:
                single((image, window, target, first))
            first += count

    @njit(inline="always")
    def two_rows(image, window, target, y_row, residual_row, out_width, whole):
        """Two adjacent rows of outputs. `whole`: no row that they need lies outside the image."""
        _, _, _, _, width, _ = image
        left = window[0]
        first = 0
        while first < out_width:
            count = columns
            if (out_width - first) % columns != 0:
                count = less
                first = least(first, out_width - less)
            from_x = first * step - left
            inside = whole and from_x >= 0 and (first + count - 1) * step - left + kernel_width <= width
            if count == columns:
                if inside:
                    wide_pair((image, window, target, y_row, residual_row, first))
                else:
                    wide_pair_clipped((image, window, target, y_row, residual_row, first))
            elif inside:
                narrow_pair((image, window, target, y_row, residual_row, first))
            else:
                narrow_pair_clipped((image, window, target, y_row, residual_row, first))
            first += count

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
        stride_y: int,
        top: int,
        left: int,
        out_height: int,
        out_width: int,
        y: int,
        y_stride: int,
        residual: int,
        residual_stride: int,
        weights: int,
        channels: int,
        group: int,
        paired: int,
        low: float,
        high: float,
        activation: int,
    ):
        y_row = out_width * y_stride
        residual_row = out_width * residual_stride
        lanes = lane_count()
        blocks = (channels + lanes - 1) // lanes
        for block in range(0, blocks, group):
            of_group = (block, least(block + group, blocks))
            unit = begin
            while unit < end:
                out_y = unit % out_height
                start_y = out_y * stride_y - top
                image = x + (unit // out_height) * image_stride
                target = (
                    y + unit * y_row,
                    y_stride,
                    residual + unit * residual_row,
                    residual_stride,
                    weights,
                    kernel_height,
                    of_group,
                    channels,
                    low,
                    high,
                    activation,
                )
                if pairs and paired != 0 and unit + 1 < end and out_y + 1 < out_height:
                    whole = start_y >= 0 and start_y + stride_y + kernel_height <= height
                    both = (image, row_stride, pixel_stride, zeros, width, height)
                    two_rows(both, (left, stride_y, start_y), target, y_row, residual_row, out_width, whole)
                    unit += 2
                else:
                    top_tap = least(greatest(0, -start_y), kernel_height)
                    taps = greatest(least(kernel_height, height - start_y) - top_tap, 0)
                    source = (image, row_stride, pixel_stride, zeros, width)
                    one_row(source, (left, top_tap, taps, start_y + top_tap), target, out_width)
                    unit += 1

    return kernel

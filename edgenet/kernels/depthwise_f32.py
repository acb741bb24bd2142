"""float32 depthwise convolution, vectorised over channels.

One output row at a time, in tiles of `columns` outputs (or of one fewer, or small ones at the end); for each tile all
channel blocks. Columns that touch the padding read a vector of zeros, rows outside the input are left out. The last
channel block is moved back to end with the last channel. Weights are packed [block][bias, then kernel_height x
kernel_width][lanes].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_f32 import activate
from edgenet.kernels.simd import add, fma, lane_count, load_f32, load_row_f32, load_tile_f32, repeat, store_tile_f32
from edgenet.kernels.simd_depthwise import convolve_row_f32, convolve_row_partial_f32
from edgenet.kernels.simd_masked import load_partial_f32, load_tile_partial, store_tile_partial
from edgenet.kernels.simd_tuples import as_tile
from edgenet.kernels.tuples import each_add, each_choose, each_multiply, each_within, greatest, least, sequence


def _tile(kernel_width: int, step: int, count: int, clipped: bool, partial: bool) -> Any:
    """Outputs first..first+count-1 of one row, all channel blocks."""
    span = (count - 1) * step + kernel_width

    @njit(inline="always")
    def tile(source, window, target, first):
        x, row_stride, pixel_stride, zeros, width = source
        left, top_tap, taps, in_y = window
        y, y_stride, residual, residual_stride, weights, kernel_height, channels, low, high, activation = target
        lanes = lane_count()
        columns = sequence(first * step - left, 1, span)
        inside = each_within(columns, width)
        offsets = each_multiply(columns, pixel_stride)
        block_bytes = (kernel_height * kernel_width + 1) * lanes * 4
        row = x + in_y * row_stride
        y_places = sequence(y + first * y_stride, y_stride, count)
        r_places = sequence(residual + first * residual_stride, residual_stride, count)
        blocks = (channels + lanes - 1) // lanes
        for block in range(blocks):
            channel = block * lanes
            if not partial:
                channel = least(channel, channels - lanes)
            w = weights + block * block_bytes
            sums = repeat(load_f32(w, 0), count)
            w += (top_tap * kernel_width + 1) * lanes * 4
            line = row + channel * 4
            for _ in range(taps):
                places = each_add(offsets, line)
                if clipped:
                    places = each_choose(inside, places, zeros)
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


def depthwise(kernel_width: int, step: int, columns: int, partial: int) -> Callable[..., None]:
    """Depthwise convolution of `kernel_width` columns, horizontal stride `step`, no dilation. Unit: one output row.

    `partial`: fewer channels than lanes; all accesses are masked.
    """
    less = columns - 1
    wide = _tile(kernel_width, step, columns, False, bool(partial))
    wide_clipped = _tile(kernel_width, step, columns, True, bool(partial))
    narrow = _tile(kernel_width, step, less, False, bool(partial))
    narrow_clipped = _tile(kernel_width, step, less, True, bool(partial))
    four = _tile(kernel_width, step, 4, True, bool(partial))
    single = _tile(kernel_width, step, 1, True, bool(partial))

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
        low: float,
        high: float,
        activation: int,
    ):
        for unit in range(begin, end):
            out_y = unit % out_height
            start_y = out_y * stride_y - top
            top_tap = least(greatest(0, -start_y), kernel_height)
            taps = greatest(least(kernel_height, height - start_y) - top_tap, 0)
            source = (x + (unit // out_height) * image_stride, row_stride, pixel_stride, zeros, width)
            window = (left, top_tap, taps, start_y + top_tap)
            target = (
                y + unit * out_width * y_stride,
                y_stride,
                residual + unit * out_width * residual_stride,
                residual_stride,
                weights,
                kernel_height,
                channels,
                low,
                high,
                activation,
            )
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
                        wide(source, window, target, first)
                    else:
                        wide_clipped(source, window, target, first)
                elif count == less:
                    if inside:
                        narrow(source, window, target, first)
                    else:
                        narrow_clipped(source, window, target, first)
                elif count == 4:
                    four(source, window, target, first)
                else:
                    single(source, window, target, first)
                first += count

    return kernel


def depthwise_general() -> Callable[..., None]:
    """Depthwise convolution of any kernel, stride and dilation, one output at a time, masked. Unit: one output row."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        image_stride: int,
        row_stride: int,
        pixel_stride: int,
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
        channels: int,
        low: float,
        high: float,
        activation: int,
    ):
        lanes = lane_count()
        blocks = (channels + lanes - 1) // lanes
        for unit in range(begin, end):
            image = x + (unit // out_height) * image_stride
            start_y = (unit % out_height) * stride_y - top
            for out_x in range(out_width):
                start_x = out_x * stride_x - left
                pixel = unit * out_width + out_x
                for block in range(blocks):
                    channel = block * lanes
                    count = channels - channel
                    w = weights + block * (kernel_height * kernel_width + 1) * lanes * 4
                    total = load_f32(w, 0)
                    for tap_y in range(kernel_height):
                        in_y = start_y + tap_y * dilation_y
                        if 0 <= in_y < height:
                            for tap_x in range(kernel_width):
                                in_x = start_x + tap_x * dilation_x
                                if 0 <= in_x < width:
                                    place = image + in_y * row_stride + in_x * pixel_stride
                                    value = load_partial_f32(place, channel, count)
                                    total = fma(value, load_f32(w, (1 + tap_y * kernel_width + tap_x) * lanes), total)
                    result = as_tile(repeat(total, 1))
                    places = sequence(y + pixel * y_stride, 0, 1)
                    if residual != 0:
                        before = sequence(residual + pixel * residual_stride, 0, 1)
                        result = add(result, load_tile_partial(before, channel, count, result))
                    store_tile_partial(activate(result, low, high, activation), places, channel, count)

    return kernel

"""float32 depthwise convolution of any kernel, stride and dilation, vectorised over channels.

`columns` adjacent outputs of one row at a time; the last tile of a row is moved back to end with the row, and in a row
of fewer outputs it computes the last one again. Columns in the left or right padding read a vector of zeros, rows
outside the input are left out. The last channel block is moved back to end with the last channel. Weights are packed as
in `depthwise_f32`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_f32 import activate
from edgenet.kernels.simd import add, lane_count, load_f32, load_row_f32, load_tile_f32, repeat, store_tile_f32
from edgenet.kernels.simd_depthwise import convolve_row_f32, convolve_row_partial_f32
from edgenet.kernels.simd_masked import load_tile_partial, store_tile_partial
from edgenet.kernels.simd_tuples import as_tile
from edgenet.kernels.tuples import (
    each_add,
    each_choose,
    each_minimum,
    each_multiply,
    each_within,
    greatest,
    least,
    opaque,
    sequence,
)


@njit(inline="always")
def _quotient(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def _row(clipped: bool, partial: bool) -> Any:
    """Taps begin..end-1 of one kernel row, added to a tile's sums; `clipped`: columns outside the input are zeros.

    `line`: address of the tile's first input column at tap 0, whose number is `column`.
    """

    @njit(inline="always")
    def row(sums, line, column, w, begin, end, source):
        offsets, steps, zeros, width, dilation, dilation_bytes, channels = source
        lanes = lane_count()
        for k in range(begin, end):
            places = each_add(offsets, opaque(line + k * dilation_bytes))
            if clipped:
                places = each_choose(each_within(each_add(steps, opaque(column + k * dilation)), width), places, zeros)
            tap = load_row_f32(w, k * lanes, 1)
            if partial:
                sums = convolve_row_partial_f32(sums, places, tap, 1, channels)
            else:
                sums = convolve_row_f32(sums, places, tap, 1)
        return sums

    return row


def _tile(columns: int, partial: bool) -> Any:
    """Outputs first..first+columns-1 of one row of one block of channels; `partial`: all accesses are masked."""
    inner = _row(False, partial)
    clipped = _row(True, partial)

    @njit(inline="always")
    def border(sums, lines, column, w, source, kernel_width):
        """All taps of a tile of which columns lie in the padding; of wide kernels, those that reach the input."""
        _, steps, _, width, dilation, _, _ = source
        line, line_stride, row_bytes, taps = lines
        enters = 0
        within = beyond = leaves = kernel_width
        if kernel_width > columns:
            last = column + steps[columns - 1]
            enters = least(kernel_width, greatest(0, _quotient(-last, dilation)))
            within = least(kernel_width, greatest(0, _quotient(-column, dilation)))
            leaves = least(kernel_width, greatest(0, _quotient(width - column, dilation)))
            beyond = greatest(within, least(leaves, _quotient(width - last, dilation)))
        for _ in range(taps):
            sums = clipped(sums, line, column, w, enters, within, source)
            sums = inner(sums, line, column, w, within, beyond, source)
            sums = clipped(sums, line, column, w, beyond, leaves, source)
            line += line_stride
            w += row_bytes
        return sums

    @njit(inline="always")
    def tile(image, w, bias, first, pixel, channel, sizes, strides, target):
        kernel_width, taps, row_bytes, left, out_width, width, dilation, channels, zeros = sizes
        line_stride, pixel_stride, stride_x = strides
        y, y_stride, residual, residual_stride, low, high, activation = target
        numbers = each_minimum(sequence(0, 1, columns), out_width - 1)
        steps = each_multiply(numbers, stride_x)
        offsets = each_multiply(steps, pixel_stride)
        source = (offsets, steps, zeros, width, dilation, dilation * pixel_stride, channels)
        column = first * stride_x - left
        line = image + column * pixel_stride
        sums = repeat(bias, columns)
        if column >= 0 and column + steps[columns - 1] + (kernel_width - 1) * dilation < width:
            for _ in range(taps):
                sums = inner(sums, line, column, w, 0, kernel_width, source)
                line += line_stride
                w += row_bytes
        else:
            sums = border(sums, (line, line_stride, row_bytes, taps), column, w, source, kernel_width)
        result = as_tile(sums)
        places = each_add(each_multiply(numbers, y_stride), y + pixel * y_stride)
        before = each_add(each_multiply(numbers, residual_stride), residual + pixel * residual_stride)
        if partial:
            if residual != 0:
                result = add(result, load_tile_partial(before, channel, channels, result))
            store_tile_partial(activate(result, low, high, activation), places, channel, channels)
        else:
            if residual != 0:
                result = add(result, load_tile_f32(before, channel, result))
            store_tile_f32(activate(result, low, high, activation), places, channel)

    return tile


def depthwise_general(columns: int, partial: int) -> Callable[..., None]:
    """Depthwise convolution of any kernel, stride and dilation.

    Unit: one output row of one block of channels. `partial`: fewer channels than lanes; all accesses are masked.
    """
    half = columns // 2
    wide = _tile(columns, bool(partial))
    narrow = _tile(half, bool(partial))

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
        blocks: int,
        channels: int,
        low: float,
        high: float,
        activation: int,
    ):
        lanes = lane_count()
        row_bytes = kernel_width * lanes * 4
        strides = (dilation_y * row_stride, pixel_stride, stride_x)
        target = (y, y_stride, residual, residual_stride, low, high, activation)
        block = begin % blocks
        row = begin // blocks
        for _ in range(begin, end):
            channel = block * lanes
            if not partial:
                channel = least(channel, channels - lanes)
            w = weights + block * (lanes * 4 + kernel_height * row_bytes)
            start_y = (row % out_height) * stride_y - top
            first_tap = 0
            if start_y < 0:
                first_tap = _quotient(-start_y, dilation_y)
            last_tap = kernel_height
            if start_y + (kernel_height - 1) * dilation_y >= height:
                last_tap = least(kernel_height, _quotient(height - start_y, dilation_y))
            taps = greatest(0, last_tap - first_tap)
            in_y = start_y + first_tap * dilation_y
            image = x + (row // out_height) * image_stride + in_y * row_stride + channel * 4
            bias = load_f32(w, 0)
            w += lanes * 4 + first_tap * row_bytes
            sizes = (kernel_width, taps, row_bytes, left, out_width, width, dilation_x, channels, zeros)
            first = 0
            while first < out_width:
                if out_width - first > half:
                    first = greatest(0, least(first, out_width - columns))
                    wide(image, w, bias, first, row * out_width + first, channel, sizes, strides, target)
                    first += columns
                else:
                    first = greatest(0, least(first, out_width - half))
                    narrow(image, w, bias, first, row * out_width + first, channel, sizes, strides, target)
                    first += half
            block += 1
            if block == blocks:
                block = 0
                row += 1

    return kernel

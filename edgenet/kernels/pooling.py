"""Pooling over windows of channels-last images: the greatest value, or the mean.

Windows are given by tables, one for output rows and one for output columns: first valid index and the one
after the last, so that padding is never read, and the factor that the axis contributes to the count of a mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.int8_arithmetic import rounded
from edgenet.kernels.native import load_word
from edgenet.kernels.simd import (
    add,
    divide,
    lane_count,
    load_f32,
    load_row_f32,
    multiply,
    repeat,
    splat_f32,
    splat_i32,
    store,
)
from edgenet.kernels.simd_bytes import (
    load_bytes,
    load_i8,
    load_row_bytes,
    register_bytes,
    splat_i8,
    store_bytes,
    store_bytes_partial,
    store_i8_partial,
    store_row_bytes,
)
from edgenet.kernels.simd_convert import (
    int_add,
    int_subtract,
    maximum_bytes,
    maximum_or_nan,
    to_double,
    to_float,
    to_single,
)
from edgenet.kernels.simd_masked import load_partial_f32, store_partial
from edgenet.kernels.simd_shuffle import store_all
from edgenet.kernels.tuples import least

VECTORS = 4
"""Vectors of channels that are reduced together."""
_LOWEST = -float("inf")
WINDOW_WORDS = 3
"""Words of a table's entry: first index, end index, count."""


def _reduce(load: Any, combine: Any) -> Any:
    """Combines load(address, argument) over a window of an image with these strides in bytes, row by row.

    `start` is neutral: the sums of rows are added up, which loses less than one long sum. `dilation` is the distance
    between the rows and between the columns of the window that count.
    """

    @njit(inline="always")
    def reduce(start, image, window, strides, dilation, argument):
        top, bottom, left, right = window
        row_stride, pixel_stride = strides
        row_step, column_step = dilation
        value = start
        i = top
        while i < bottom:
            source = image + i * row_stride + left * pixel_stride
            row = start
            j = left
            while j < right:
                row = combine(row, load(source, argument))
                source += column_step * pixel_stride
                j += column_step
            value = combine(value, row)
            i += row_step
        return value

    return reduce


_combine_maximum = njit(inline="always")(lambda a, b: maximum_or_nan(b, a))
_combine_bytes = njit(inline="always")(lambda a, b: maximum_bytes(a, b))
_combine_sum = njit(inline="always")(lambda a, b: add(a, b))
_combine_integers = njit(inline="always")(lambda a, b: int_add(a, b))
_row_f32 = njit(inline="always")(lambda place, _: load_row_f32(place, 0, VECTORS))
_vector_f32 = njit(inline="always")(lambda place, _: load_f32(place, 0))
_partial_f32 = njit(inline="always")(lambda place, count: load_partial_f32(place, 0, count))
_row_bytes = njit(inline="always")(lambda place, _: load_row_bytes(place, 0, VECTORS))
_vector_bytes = njit(inline="always")(lambda place, _: load_bytes(place, 0))
_register = njit(inline="always")(lambda place, _: load_i8(place, 0, 0))

_wide_row_f32 = njit(inline="always")(lambda place, _: to_double(load_row_f32(place, 0, VECTORS)))
_wide_vector_f32 = njit(inline="always")(lambda place, _: to_double(load_f32(place, 0)))
_wide_partial_f32 = njit(inline="always")(lambda place, count: to_double(load_partial_f32(place, 0, count)))

_maximum_row = _reduce(_row_f32, _combine_maximum)
_maximum_vector = _reduce(_vector_f32, _combine_maximum)
_maximum_partial = _reduce(_partial_f32, _combine_maximum)
_maximum_register = _reduce(_register, _combine_bytes)
sum_row = _reduce(_wide_row_f32, _combine_sum)
sum_vector = _reduce(_wide_vector_f32, _combine_sum)
sum_partial = _reduce(_wide_partial_f32, _combine_sum)
sum_row_bytes = _reduce(_row_bytes, _combine_integers)
sum_vector_bytes = _reduce(_vector_bytes, _combine_integers)


@njit(inline="always")
def _window(rows, columns, i, j):
    row, column = rows + i * (WINDOW_WORDS * 8), columns + j * (WINDOW_WORDS * 8)
    return (load_word(row), load_word(row + 8), load_word(column), load_word(column + 8))


@njit(inline="always")
def _count(rows, columns, i, j):
    return load_word(rows + (i * WINDOW_WORDS + 2) * 8) * load_word(columns + (j * WINDOW_WORDS + 2) * 8)


def maximum_f32() -> Callable[..., None]:
    """The greatest value of each window; NaN wins. Unit: one output row, `block` channels."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        rows: int,
        columns: int,
        height: int,
        width: int,
        out_height: int,
        out_width: int,
        channels: int,
        row_step: int,
        column_step: int,
        block: int,
    ):
        lanes = lane_count()
        pixel = channels * 4
        strides = (width * pixel, pixel)
        blocks = (channels + block - 1) // block
        lowest = splat_f32(_LOWEST)
        dilation = (row_step, column_step)
        for unit in range(begin, end):
            line = unit // blocks
            begin_channel = (unit % blocks) * block
            stop = least(begin_channel + block, channels)
            image = x + (line // out_height) * height * width * pixel
            for j in range(out_width):
                window = _window(rows, columns, line % out_height, j)
                out = y + (line * out_width + j) * pixel
                c = begin_channel
                while c + VECTORS * lanes <= stop:
                    value = _maximum_row(repeat(lowest, VECTORS), image + c * 4, window, strides, dilation, 0)
                    store_all(value, out + c * 4)
                    c += VECTORS * lanes
                while c + lanes <= stop:
                    store(_maximum_vector(lowest, image + c * 4, window, strides, dilation, 0), out, c)
                    c += lanes
                if c < stop:
                    left = stop - c
                    value = _maximum_partial(lowest, image + c * 4, window, strides, dilation, left)
                    store_partial(value, out, c, left)

    return kernel


def maximum_int8() -> Callable[..., None]:
    """The greatest value of each window, `lowest` is the stored byte of -128. Unit: one output row."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        rows: int,
        columns: int,
        height: int,
        width: int,
        out_height: int,
        out_width: int,
        channels: int,
        row_step: int,
        column_step: int,
        lowest: int,
    ):
        step = register_bytes()
        strides = (width * channels, channels)
        dilation = (row_step, column_step)
        start = splat_i8(lowest)
        for unit in range(begin, end):
            image = x + (unit // out_height) * height * width * channels
            for j in range(out_width):
                window = _window(rows, columns, unit % out_height, j)
                out = y + (unit * out_width + j) * channels
                c = 0
                while c < channels:
                    value = _maximum_register(start, image + c, window, strides, dilation, 0)
                    if c + step <= channels:
                        store(value, out, c)
                    else:
                        store_i8_partial(value, out, c, channels - c)
                    c += step

    return kernel


def mean_f32() -> Callable[..., None]:
    """The mean of each window. Unit: one output row, `block` channels.

    Sums are float64: those of values within 2**20 of each other are exact, whatever their order.
    """

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        rows: int,
        columns: int,
        height: int,
        width: int,
        out_height: int,
        out_width: int,
        channels: int,
        block: int,
        divisor: int,
    ):
        lanes = lane_count()
        pixel = channels * 4
        strides = (width * pixel, pixel)
        blocks = (channels + block - 1) // block
        zero = to_double(splat_f32(0.0))
        for unit in range(begin, end):
            line = unit // blocks
            begin_channel = (unit % blocks) * block
            stop = least(begin_channel + block, channels)
            image = x + (line // out_height) * height * width * pixel
            for j in range(out_width):
                window = _window(rows, columns, line % out_height, j)
                count = divisor
                if count == 0:
                    count = _count(rows, columns, line % out_height, j)
                out = y + (line * out_width + j) * pixel
                c = begin_channel
                while c + VECTORS * lanes <= stop:
                    value = sum_row(repeat(zero, VECTORS), image + c * 4, window, strides, (1, 1), 0)
                    store_all(to_single(divide(value, count)), out + c * 4)
                    c += VECTORS * lanes
                while c + lanes <= stop:
                    value = sum_vector(zero, image + c * 4, window, strides, (1, 1), 0)
                    store(to_single(divide(value, count)), out, c)
                    c += lanes
                if c < stop:
                    left = stop - c
                    value = sum_partial(zero, image + c * 4, window, strides, (1, 1), left)
                    store_partial(to_single(divide(value, count)), out, c, left)

    return kernel


@njit(inline="always")
def store_mean_bytes(total, offset, count, scale, place, left):
    """Stores (total - offset) / count * multiplier, rounded, of a vector of channels, of which `left` exist."""
    multiplier, zero, low, high = scale
    mean = multiply(divide(to_float(int_subtract(total, offset)), count), multiplier)
    value = rounded(mean, zero, low, high)
    if left >= lane_count():
        store_bytes(value, place, 0)
    else:
        store_bytes_partial(value, place, 0, left)


def mean_int8() -> Callable[..., None]:
    """The mean of each window, float32(sum) / float32(count) * multiplier. Unit: an output row of `block` channels."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        rows: int,
        columns: int,
        height: int,
        width: int,
        out_height: int,
        out_width: int,
        channels: int,
        block: int,
        divisor: int,
        x_zero: int,
        zero: int,
        multiplier: float,
        low: float,
        high: float,
    ):
        lanes = lane_count()
        blocks = (channels + block - 1) // block
        nothing = splat_i32(0)
        strides = (width * channels, channels)
        for unit in range(begin, end):
            line = unit // blocks
            begin_channel = (unit % blocks) * block
            stop = least(begin_channel + block, channels)
            image = x + (line // out_height) * height * width * channels
            for j in range(out_width):
                window = _window(rows, columns, line % out_height, j)
                offset = (window[1] - window[0]) * (window[3] - window[2]) * x_zero
                count = divisor
                if count == 0:
                    count = _count(rows, columns, line % out_height, j)
                out = y + (line * out_width + j) * channels
                c = begin_channel
                while c + VECTORS * lanes <= stop:
                    total = sum_row_bytes(repeat(nothing, VECTORS), image + c, window, strides, (1, 1), 0)
                    mean = multiply(divide(to_float(int_subtract(total, offset)), count), multiplier)
                    store_row_bytes(rounded(mean, zero, low, high), out + c)
                    c += VECTORS * lanes
                while c < stop:
                    total = sum_vector_bytes(nothing, image + c, window, strides, (1, 1), 0)
                    store_mean_bytes(total, offset, count, (multiplier, zero, low, high), out + c, stop - c)
                    c += lanes

    return kernel

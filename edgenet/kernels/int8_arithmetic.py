"""int8 rounding as `edgenet.ops.arithmetic` defines it, and the elementwise int8 kernels: quantize, requantize, table.

Zero points and stored values are as they lie in memory. A bound `low`/`high` is a limit before the zero point is added,
so that clamping before rounding gives what clamping afterwards would.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from edgenet.kernels.simd import clamp, lane_count, load_f32, minimum, multiply, store
from edgenet.kernels.simd_bytes import (
    copy_chunk,
    load_bytes,
    load_i8,
    store_bytes,
    store_bytes_partial,
    store_i8_partial,
    store_row_bytes_partial,
)
from edgenet.kernels.simd_convert import int_add, int_subtract, or_zero, round_to_int, to_float
from edgenet.kernels.simd_lookup import load_index, look_up_bytes, look_up_channels, lookup_lanes
from edgenet.kernels.simd_masked import load_partial_f32, store_partial
from edgenet.kernels.simd_requantize import store_interleaved
from edgenet.kernels.simd_shuffle import interleave, load_planes
from edgenet.kernels.tuples import least


@njit(inline="always")
def centered(stored, zero):
    """float32 of stored - zero point."""
    return to_float(int_subtract(stored, zero))


@njit(inline="always")
def rounded(value, zero, low, high):
    """int32 of round_half_even(clamp(value, low, high)) + zero point."""
    return int_add(round_to_int(clamp(value, low, high)), zero)


@njit(inline="always")
def rounded_or_zero(value, zero, low, high):
    """As `rounded`, NaN counting as 0."""
    return rounded(or_zero(value), zero, low, high)


def quantize() -> Callable[..., None]:
    """int8 of x * scale. Unit: `block` elements."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        count: int,
        block: int,
        scale: float,
        zero: int,
        low: float,
        high: float,
    ):
        lanes = lane_count()
        i = begin * block
        stop = least(end * block, count)
        while i + lanes <= stop:
            store_bytes(rounded_or_zero(multiply(load_f32(x, i), scale), zero, low, high), y, i)
            i += lanes
        if i < stop:
            value = multiply(load_partial_f32(x, i, stop - i), scale)
            store_bytes_partial(rounded_or_zero(value, zero, low, high), y, i, stop - i)

    return kernel


def quantize_interleaved(planes: int) -> Callable[..., None]:
    """int8 of x * scale, y[r, i, p] = x[r, p, i]: a channels-first image of few channels becomes channels-last.

    Unit: `block` pixels of an image of `length` pixels, whose planes lie `plane_stride` bytes apart in x.
    """

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        plane_stride: int,
        length: int,
        block: int,
        scale: float,
        zero: int,
        smallest: int,
        largest: int,
        low: float,
        high: float,
    ):
        lanes = lane_count()
        blocks = (length + block - 1) // block
        bounds = (zero, smallest, largest)
        for unit in range(begin, end):
            image = x + (unit // blocks) * planes * plane_stride
            out = y + (unit // blocks) * planes * length
            i = (unit % blocks) * block
            stop = least(i + block, length)
            while i + lanes <= stop:
                values = multiply(load_planes(image + i * 4, plane_stride, lanes, planes, 4), scale)
                store_interleaved(minimum(or_zero(values), high), out + i * planes, bounds)
                i += lanes
            if i < stop:
                values = interleave(load_planes(image + i * 4, plane_stride, stop - i, planes, 4))
                stored = rounded_or_zero(multiply(values, scale), zero, low, high)
                store_row_bytes_partial(stored, out + i * planes, (stop - i) * planes)

    return kernel


def dequantize() -> Callable[..., None]:
    """float32 of (x - zero) * scale. Unit: `block` elements."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        count: int,
        block: int,
        scale: float,
        zero: int,
    ):
        lanes = lane_count()
        i = begin * block
        stop = least(end * block, count)
        while i + lanes <= stop:
            store(multiply(centered(load_bytes(x, i), zero), scale), y, i)
            i += lanes
        if i < stop:
            store_partial(multiply(centered(load_bytes(x, i), zero), scale), y, i, stop - i)

    return kernel


def requantize() -> Callable[..., None]:
    """int8 of (x - x_zero) * scale for rows of `length` elements, strides in bytes. Unit: `block` elements of a row."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        x_stride: int,
        y: int,
        y_stride: int,
        length: int,
        block: int,
        scale: float,
        x_zero: int,
        zero: int,
        low: float,
        high: float,
    ):
        lanes = lane_count()
        blocks = (length + block - 1) // block
        for unit in range(begin, end):
            row = unit // blocks
            i = (unit % blocks) * block
            stop = least(i + block, length)
            source = x + row * x_stride
            target = y + row * y_stride
            while i < stop:
                value = rounded(multiply(centered(load_bytes(source, i), x_zero), scale), zero, low, high)
                if i + lanes <= stop:
                    store_bytes(value, target, i)
                else:
                    store_bytes_partial(value, target, i, stop - i)
                i += lanes

    return kernel


def table() -> Callable[..., None]:
    """y = table[x], the table indexed by and holding bytes as they lie in memory. Unit: `block` elements."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        table: int,
        count: int,
        block: int,
    ):
        lanes = lookup_lanes()
        i = begin * block
        stop = least(end * block, count)
        while i + lanes <= stop:
            store(look_up_bytes(load_i8(x, i, 0), table), y, i)
            i += lanes
        if i < stop:
            store_i8_partial(look_up_bytes(load_i8(x, i, 0), table), y, i, stop - i)

    return kernel


def channel_table() -> Callable[..., None]:
    """y[p, c] = table[c, x[p, c]]. Unit: `block` pixels."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        table: int,
        pixels: int,
        channels: int,
        block: int,
    ):
        lanes = lane_count()
        for pixel in range(begin * block, least(end * block, pixels)):
            place = pixel * channels
            c = 0
            while c + lanes <= channels:
                store(look_up_channels(x + place + c, table + c * 256), y, place + c)
                c += lanes
            while c < channels:
                copy_chunk(table + c * 256 + load_index(x, place + c), y + place + c, 1)
                c += 1

    return kernel

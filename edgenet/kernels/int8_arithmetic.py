"""int8 rounding as `edgenet.ops.arithmetic` defines it, and the elementwise int8 kernels: quantize, requantize, table.

Zero points and stored values are as they lie in memory. A bound `low`/`high` is a limit before the zero point is added,
so that clamping before rounding gives what clamping afterwards would.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from edgenet.kernels.simd import clamp, lane_count, load_f32, multiply, store_f32
from edgenet.kernels.simd_bytes import load_bytes, store_bytes, store_bytes_partial
from edgenet.kernels.simd_convert import int_add, int_subtract, round_to_int, to_float, where_less
from edgenet.kernels.simd_masked import load_partial_f32, store_partial
from edgenet.kernels.tuples import least

_INFINITY = float("inf")


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
    value = where_less(value, 0.0, value, where_less(-1.0, value, value, 0.0))
    return rounded(value, zero, low, high)


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
            store_f32(multiply(centered(load_bytes(x, i), zero), scale), y, i)
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

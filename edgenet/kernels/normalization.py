"""Softmax, layer normalization and local response normalization over the last axis, float32. Unit: one row or pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.simd import (
    add,
    divide,
    fma,
    lane_count,
    load_f32,
    multiply,
    splat_f32,
    square_root,
    store,
    subtract,
)
from edgenet.kernels.simd_convert import (
    first_lanes,
    greatest_lane,
    maximum_or_nan,
    sum_lanes,
)
from edgenet.kernels.simd_masked import load_partial_f32, store_partial
from edgenet.kernels.tuples import least
from edgenet.kernels.vector_math import exponential, logarithm

SPAN = 1024
"""Values that are summed in float32, whole registers: to add thousands to a large sum would lose digits."""
_LOWEST = -float("inf")


@njit(inline="always")
def _greatest(x, length):
    """The greatest of `length` values; NaN if one is NaN."""
    lanes = lane_count()
    result = splat_f32(_LOWEST)
    i = 0
    while i + lanes <= length:
        result = maximum_or_nan(result, load_f32(x, i))
        i += lanes
    if i < length:
        left = length - i
        result = maximum_or_nan(result, first_lanes(load_partial_f32(x, i, left), left, _LOWEST))
    return greatest_lane(result)


def _sum_of(accumulate: Any) -> Any:
    """Sums `length` values by `accumulate(part, values, mean)`: float32 within a span, float64 over the spans."""

    @njit(inline="always")
    def sum_of(x, length, mean):
        lanes = lane_count()
        total = 0.0
        i = 0
        while i < length:
            stop = least(i + SPAN, length)
            part = splat_f32(0.0)
            while i + lanes <= stop:
                part = accumulate(part, load_f32(x, i), mean)
                i += lanes
            if i < stop:
                rest = accumulate(splat_f32(0.0), load_partial_f32(x, i, stop - i), mean)
                part = add(part, first_lanes(rest, stop - i, 0.0))
                i = stop
            total += sum_lanes(part)
        return total

    return sum_of


@njit(inline="always")
def _add_square(part, values, mean):
    centered = subtract(values, mean)
    return fma(centered, centered, part)


_sum = _sum_of(njit(inline="always")(lambda part, values, _: add(part, values)))
_sum_of_squares = _sum_of(_add_square)


def softmax(logarithmic: int) -> Callable[..., None]:
    """softmax, or its logarithm, of rows of `length` values."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        length: int,
    ):
        lanes = lane_count()
        for row in range(begin, end):
            source = x + row * length * 4
            out = y + row * length * 4
            top = _greatest(source, length)
            total = splat_f32(0.0)
            i = 0
            while i + lanes <= length:
                value = exponential(subtract(load_f32(source, i), top))
                if logarithmic == 0:
                    store(value, out, i)
                total = add(total, value)
                i += lanes
            left = length - i
            if left > 0:
                value = exponential(subtract(load_partial_f32(source, i, left), top))
                if logarithmic == 0:
                    store_partial(value, out, i, left)
                total = add(total, first_lanes(value, left, 0.0))
            whole = splat_f32(sum_lanes(total))
            i = 0
            if logarithmic == 0:
                factor = divide(1.0, whole)
                while i + lanes <= length:
                    store(multiply(load_f32(out, i), factor), out, i)
                    i += lanes
                if left > 0:
                    store_partial(multiply(load_partial_f32(out, i, left), factor), out, i, left)
            else:
                offset = logarithm(whole)
                while i + lanes <= length:
                    store(subtract(subtract(load_f32(source, i), top), offset), out, i)
                    i += lanes
                if left > 0:
                    value = subtract(subtract(load_partial_f32(source, i, left), top), offset)
                    store_partial(value, out, i, left)

    return kernel


def layer_norm() -> Callable[..., None]:
    """(x - mean) / sqrt(variance + epsilon) * weight + bias of rows of `length` values."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        weight: int,
        bias: int,
        length: int,
        epsilon: float,
    ):
        lanes = lane_count()
        for row in range(begin, end):
            source = x + row * length * 4
            out = y + row * length * 4
            mean = divide(splat_f32(_sum(source, length, splat_f32(0.0))), length)
            variance = divide(splat_f32(_sum_of_squares(source, length, mean)), length)
            factor = divide(1.0, square_root(add(variance, epsilon)))
            left = length % lanes
            i = 0
            while i + lanes <= length:
                value = multiply(subtract(load_f32(source, i), mean), factor)
                store(fma(value, load_f32(weight, i), load_f32(bias, i)), out, i)
                i += lanes
            if left > 0:
                value = multiply(subtract(load_partial_f32(source, i, left), mean), factor)
                value = fma(value, load_partial_f32(weight, i, left), load_partial_f32(bias, i, left))
                store_partial(value, out, i, left)

    return kernel


def local_response_norm() -> Callable[..., None]:
    """x / (k + scale * sum of squares over `size` channels, `before` of them before each) ** beta.

    In a thread's scratch lie `squares_bytes` bytes: the squares of a pixel between zeros.
    """

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        scratch: int,
        scratch_bytes: int,
        squares_bytes: int,
        channels: int,
        size: int,
        before: int,
        scale: float,
        beta: float,
        k: float,
    ):
        lanes = lane_count()
        squares = scratch + thread * scratch_bytes
        zero = splat_f32(0.0)
        i = 0
        while (i + lanes) * 4 <= squares_bytes:
            store(zero, squares, i)
            i += lanes
        for pixel in range(begin, end):
            source = x + pixel * channels * 4
            out = y + pixel * channels * 4
            i = 0
            while i + lanes <= channels:
                value = load_f32(source, i)
                store(multiply(value, value), squares, before + i)
                i += lanes
            left = channels - i
            if left > 0:
                value = load_partial_f32(source, i, left)
                store(multiply(value, value), squares, before + i)
            i = 0
            while i < channels:
                total = zero
                for j in range(size):
                    total = add(total, load_f32(squares, i + j))
                base = fma(total, scale, k)
                power = exponential(multiply(logarithm(base), -beta))
                if i + lanes <= channels:
                    store(multiply(load_f32(source, i), power), out, i)
                else:
                    store_partial(multiply(load_partial_f32(source, i, left), power), out, i, left)
                i += lanes

    return kernel

"""Means over whole channels-last images in two steps: the sums of each part of an image, then the mean of all parts.

A part is a range of rows, so that a thread reads those that are in its cache. Sums are float64 of float32 (those of
values within 2**20 of each other are exact, whatever their order), or int32 of bytes; those of a part begin
`sums_bytes` behind those of the part before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.pooling import (
    VECTORS,
    store_mean_bytes,
    sum_partial,
    sum_row,
    sum_row_bytes,
    sum_vector,
    sum_vector_bytes,
)
from edgenet.kernels.simd import add, divide, lane_count, load_f64, repeat, splat_f32, splat_i32, store
from edgenet.kernels.simd_convert import int_add, to_double, to_single
from edgenet.kernels.simd_int8 import load_row_i32
from edgenet.kernels.simd_masked import store_partial
from edgenet.kernels.simd_shuffle import store_all

_no_doubles = njit(inline="always")(lambda: to_double(splat_f32(0.0)))
_no_integers = njit(inline="always")(lambda: splat_i32(0))


def _sum_parts(size: int, sum_size: int, nothing: Any, of_row: Any, of_vector: Any, of_last: Any) -> Any:
    """Sums of elements of `size` bytes, in `sum_size` bytes each: of several vectors, of one, of the last channels."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        sums: int,
        height: int,
        width: int,
        channels: int,
        parts: int,
        sums_bytes: int,
    ):
        lanes = lane_count()
        pixel = channels * size
        strides = (width * pixel, pixel)
        for unit in range(begin, end):
            part = unit % parts
            window = (height * part // parts, height * (part + 1) // parts, 0, width)
            image = x + (unit // parts) * height * width * pixel
            out = sums + unit * sums_bytes
            c = 0
            while c + VECTORS * lanes <= channels:
                total = of_row(repeat(nothing(), VECTORS), image + c * size, window, strides, (1, 1), 0)
                store_all(total, out + c * sum_size)
                c += VECTORS * lanes
            while c + lanes <= channels:
                store(of_vector(nothing(), image + c * size, window, strides, (1, 1), 0), out, c)
                c += lanes
            if c < channels:
                store(of_last(nothing(), image + c * size, window, strides, (1, 1), channels - c), out, c)

    return kernel


def sum_parts_f32() -> Callable[..., None]:
    """The sums of each part. Unit: a part of an image."""
    return _sum_parts(4, 8, _no_doubles, sum_row, sum_vector, sum_partial)


def sum_parts_int8() -> Callable[..., None]:
    """The sums of each part. Unit: a part of an image."""
    return _sum_parts(1, 4, _no_integers, sum_row_bytes, sum_vector_bytes, sum_vector_bytes)


def mean_of_parts_f32() -> Callable[..., None]:
    """The sum of all parts / `count`. Unit: an image."""

    def kernel(
        begin: int, end: int, thread: int, sums: int, y: int, channels: int, parts: int, sums_bytes: int, count: int
    ):
        lanes = lane_count()
        for unit in range(begin, end):
            out = y + unit * channels * 4
            for c in range(0, channels, lanes):
                total = to_double(splat_f32(0.0))
                for part in range(unit * parts, (unit + 1) * parts):
                    total = add(total, load_f64(sums + part * sums_bytes, c))
                mean = to_single(divide(total, count))
                if c + lanes <= channels:
                    store(mean, out, c)
                else:
                    store_partial(mean, out, c, channels - c)

    return kernel


def mean_of_parts_int8() -> Callable[..., None]:
    """float32(the sum of all parts, without the zero point) / float32(count) * multiplier. Unit: an image.

    `offset` is the zero point of x times the pixels.
    """

    def kernel(
        begin: int,
        end: int,
        thread: int,
        sums: int,
        y: int,
        channels: int,
        parts: int,
        sums_bytes: int,
        count: int,
        offset: int,
        zero: int,
        multiplier: float,
        low: float,
        high: float,
    ):
        lanes = lane_count()
        for unit in range(begin, end):
            out = y + unit * channels
            for c in range(0, channels, lanes):
                total = splat_i32(0)
                for part in range(unit * parts, (unit + 1) * parts):
                    total = int_add(total, load_row_i32(sums + part * sums_bytes, c, 1)[0])
                store_mean_bytes(total, offset, count, (multiplier, zero, low, high), out + c, channels - c)

    return kernel

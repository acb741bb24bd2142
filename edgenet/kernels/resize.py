"""Bilinear resizing of channels-last images.

`rows` and `columns` are tables with an entry for each output index: byte offsets of the lower and the upper source row
(column), as int64; `row_weights` and `column_weights` the float32 pairs 1 - w and w. Unit: one output row.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from edgenet.kernels.int8_arithmetic import centered, rounded
from edgenet.kernels.native import load_word
from edgenet.kernels.simd import add, lane_count, load_f32, load_scalar_f32, multiply, store
from edgenet.kernels.simd_bytes import load_bytes, store_bytes, store_bytes_partial
from edgenet.kernels.simd_masked import load_partial_f32, store_partial


@njit(inline="always")
def _mix(first, second, weights, index):
    """first * (1 - w) + second * w, every step rounded."""
    return add(
        multiply(first, load_scalar_f32(weights, 2 * index)), multiply(second, load_scalar_f32(weights, 2 * index + 1))
    )


def bilinear_f32() -> Callable[..., None]:
    """float32."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        rows: int,
        row_weights: int,
        columns: int,
        column_weights: int,
        image_stride: int,
        out_height: int,
        out_width: int,
        channels: int,
    ):
        lanes = lane_count()
        for unit in range(begin, end):
            i = unit % out_height
            image = x + (unit // out_height) * image_stride
            upper = image + load_word(rows + i * 16)
            lower = image + load_word(rows + i * 16 + 8)
            out = y + unit * out_width * channels * 4
            for j in range(out_width):
                left = load_word(columns + j * 16)
                right = load_word(columns + j * 16 + 8)
                c = 0
                while c + lanes <= channels:
                    top = _mix(load_f32(upper + left, c), load_f32(upper + right, c), column_weights, j)
                    bottom = _mix(load_f32(lower + left, c), load_f32(lower + right, c), column_weights, j)
                    store(_mix(top, bottom, row_weights, i), out, c)
                    c += lanes
                if c < channels:
                    n = channels - c
                    top = _mix(
                        load_partial_f32(upper + left, c, n), load_partial_f32(upper + right, c, n), column_weights, j
                    )
                    bottom = _mix(
                        load_partial_f32(lower + left, c, n), load_partial_f32(lower + right, c, n), column_weights, j
                    )
                    store_partial(_mix(top, bottom, row_weights, i), out, c, n)
                out += channels * 4

    return kernel


def bilinear_int8() -> Callable[..., None]:
    """int8: the float32 arithmetic on centred values, times `multiplier`, rounded."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        rows: int,
        row_weights: int,
        columns: int,
        column_weights: int,
        image_stride: int,
        out_height: int,
        out_width: int,
        channels: int,
        x_zero: int,
        zero: int,
        multiplier: float,
        low: float,
        high: float,
    ):
        lanes = lane_count()
        for unit in range(begin, end):
            i = unit % out_height
            image = x + (unit // out_height) * image_stride
            upper = image + load_word(rows + i * 16)
            lower = image + load_word(rows + i * 16 + 8)
            out = y + unit * out_width * channels
            for j in range(out_width):
                left = load_word(columns + j * 16)
                right = load_word(columns + j * 16 + 8)
                c = 0
                while c < channels:
                    first = centered(load_bytes(upper + left, c), x_zero)
                    top = _mix(first, centered(load_bytes(upper + right, c), x_zero), column_weights, j)
                    first = centered(load_bytes(lower + left, c), x_zero)
                    bottom = _mix(first, centered(load_bytes(lower + right, c), x_zero), column_weights, j)
                    value = multiply(_mix(top, bottom, row_weights, i), multiplier)
                    value = rounded(value, zero, low, high)
                    if c + lanes <= channels:
                        store_bytes(value, out, c)
                    else:
                        store_bytes_partial(value, out, c, channels - c)
                    c += lanes
                out += channels

    return kernel

"""Arithmetic of two operands with broadcasting, float32 and int8, and PReLU.

The operands are walked in rows: three outer loops with byte strides (0 where an operand repeats), and `length` adjacent
elements (the last row of all: `last`), over which an operand advances (`a_step`, `b_step` 1) or repeats (0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.int8_arithmetic import centered, rounded
from edgenet.kernels.simd import (
    absolute,
    add,
    clamp,
    divide,
    lane_count,
    load_f32,
    load_scalar_byte,
    load_scalar_f32,
    multiply,
    splat_f32,
    splat_i32,
    store,
    subtract,
)
from edgenet.kernels.simd_bytes import load_bytes, store_bytes, store_bytes_partial
from edgenet.kernels.simd_convert import where_less
from edgenet.kernels.simd_masked import load_partial_f32, store_partial
from edgenet.kernels.table_memory import BINARY
from edgenet.kernels.tuples import least

_FLOAT: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: add(a, b),
    "sub": lambda a, b: subtract(a, b),
    "mul": lambda a, b: multiply(a, b),
    "div": lambda a, b: divide(a, b),
    "prelu": lambda a, b: where_less(a, 0.0, multiply(a, b), a),
    "mask": lambda a, b: where_less(0.0, absolute(b), a, 0.0),
}
_INT8: dict[str, Callable[..., Any]] = {
    "add": lambda a, b, ma, mb: add(multiply(a, ma), multiply(b, mb)),
    "sub": lambda a, b, ma, mb: subtract(multiply(a, ma), multiply(b, mb)),
    "mul": lambda a, b, ma, mb: multiply(multiply(a, b), ma),
}
"""Of centred values, exact in float32 (a product of two has at most 17 bits)."""


def _walk(row: Any) -> Any:
    """Calls row(a, b, y, a_step, b_step, length, parameters) for the rows begin..end-1."""

    @njit(inline="always")
    def walk(begin, end, n1, n2, a, a_strides, b, b_strides, y, y_stride, steps, lengths, parameters):
        unit = begin
        i2 = unit % n2
        i1 = (unit // n2) % n1
        i0 = unit // (n2 * n1)
        a_step, b_step = steps
        length, last, rows = lengths
        out = y + unit * y_stride
        while unit < end:
            first = a + i0 * a_strides[0] + i1 * a_strides[1] + i2 * a_strides[2]
            second = b + i0 * b_strides[0] + i1 * b_strides[1] + i2 * b_strides[2]
            stop = least(n2 - i2, end - unit) + unit
            while unit < stop:
                unit += 1
                size = length
                if unit == rows:
                    size = last
                row(first, second, out, a_step, b_step, size, parameters)
                first += a_strides[2]
                second += b_strides[2]
                out += y_stride
            i2 = 0
            i1 += 1
            if i1 == n1:
                i1 = 0
                i0 += 1

    return walk


def _float_row(operation: Any) -> Any:
    @njit(inline="always")
    def row(a, b, y, a_step, b_step, length, parameters):
        low, high = parameters
        lanes = lane_count()
        i = 0
        if a_step == 1 and b_step == 1:
            while i + lanes <= length:
                store(clamp(operation(load_f32(a, i), load_f32(b, i)), low, high), y, i)
                i += lanes
            if i < length:
                left = length - i
                value = operation(load_partial_f32(a, i, left), load_partial_f32(b, i, left))
                store_partial(clamp(value, low, high), y, i, left)
        elif b_step == 0:
            second = splat_f32(load_scalar_f32(b, 0))
            while i + lanes <= length:
                store(clamp(operation(load_f32(a, i), second), low, high), y, i)
                i += lanes
            if i < length:
                left = length - i
                store_partial(clamp(operation(load_partial_f32(a, i, left), second), low, high), y, i, left)
        else:
            first = splat_f32(load_scalar_f32(a, 0))
            while i + lanes <= length:
                store(clamp(operation(first, load_f32(b, i)), low, high), y, i)
                i += lanes
            if i < length:
                left = length - i
                store_partial(clamp(operation(first, load_partial_f32(b, i, left)), low, high), y, i, left)

    return row


def binary_f32(number: int) -> Callable[..., None]:
    """y = clamp(BINARY[number](a, b), low, high). Unit: a row."""
    walk = _walk(_float_row(njit(inline="always")(_FLOAT[BINARY[number]])))

    def kernel(
        begin: int,
        end: int,
        thread: int,
        a: int,
        b: int,
        y: int,
        n1: int,
        n2: int,
        a0: int,
        a1: int,
        a2: int,
        b0: int,
        b1: int,
        b2: int,
        y_stride: int,
        a_step: int,
        b_step: int,
        length: int,
        rows: int,
        last: int,
        low: float,
        high: float,
    ):
        walk(
            begin, end, n1, n2, a, (a0, a1, a2), b, (b0, b1, b2), y, y_stride, (a_step, b_step), (length, last, rows),
            (low, high),
        )  # fmt: skip

    return kernel


def _int8_row(operation: Any) -> Any:
    @njit(inline="always")
    def row(a, b, y, a_step, b_step, length, parameters):
        zeros, multipliers, bounds = parameters
        zero_a, zero_b, zero = zeros
        first_scale, second_scale = multipliers
        lanes = lane_count()
        i = 0
        while i < length:
            if a_step == 1:
                first = centered(load_bytes(a, i), zero_a)
            else:
                first = centered(splat_i32(load_scalar_byte(a, 0)), zero_a)
            if b_step == 1:
                second = centered(load_bytes(b, i), zero_b)
            else:
                second = centered(splat_i32(load_scalar_byte(b, 0)), zero_b)
            value = rounded(operation(first, second, first_scale, second_scale), zero, bounds[0], bounds[1])
            if i + lanes <= length:
                store_bytes(value, y, i)
            else:
                store_bytes_partial(value, y, i, length - i)
            i += lanes

    return row


def binary_int8(number: int) -> Callable[..., None]:
    """int8 BINARY[number] with rounding as in `edgenet.ops.elementwise`. Unit: a row.

    `low` and `high` are bounds before the output's zero point is added.
    """
    walk = _walk(_int8_row(njit(inline="always")(_INT8[BINARY[number]])))

    def kernel(
        begin: int,
        end: int,
        thread: int,
        a: int,
        b: int,
        y: int,
        n1: int,
        n2: int,
        a0: int,
        a1: int,
        a2: int,
        b0: int,
        b1: int,
        b2: int,
        y_stride: int,
        a_step: int,
        b_step: int,
        length: int,
        rows: int,
        last: int,
        zero_a: int,
        zero_b: int,
        zero_y: int,
        multiplier_a: float,
        multiplier_b: float,
        low: float,
        high: float,
    ):
        walk(
            begin, end, n1, n2, a, (a0, a1, a2), b, (b0, b1, b2), y, y_stride, (a_step, b_step), (length, last, rows),
            ((zero_a, zero_b, zero_y), (multiplier_a, multiplier_b), (low, high)),
        )  # fmt: skip

    return kernel

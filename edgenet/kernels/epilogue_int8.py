"""What int8 layers do with their exact sums: scale, residual, hardswish, round, store bytes or float32.

Every float32 step is rounded on its own, as `edgenet.ops.conv.finish` defines it. Zero points are as they lie in
memory. Most layers only scale, round and clamp: `settle` does that from registers. For the others it puts a tile's sums
in the thread's scratch, where `finish_rows` takes them up.

`output` in these functions: plain (1 if `settle` is enough), the bounds of plain layers (zero point, least and greatest
value as they lie in memory), and for the others: low and high (before the zero point is added), zero point, the
residual's zero point and multiplier, hardswish's multiplier, the activation's code, and whether y is float32.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from edgenet.kernels.simd import add, clamp, lane_count, load_row_f32, multiply, repeat, store_tile_f32
from edgenet.kernels.simd_convert import int_add, int_subtract, round_to_int, to_float
from edgenet.kernels.simd_int8 import (
    load_row_i32,
    load_tile_bytes,
    store_sums,
    store_tile_bytes,
    store_tile_bytes_partial,
)
from edgenet.kernels.simd_masked import store_tile_partial
from edgenet.kernels.simd_requantize import store_requantized

HARDSWISH = 1
"""Code of (f * clamp(f + 3, 0, 6)) * output_multiplier; code 0 is the clamp to low..high alone."""
SUMS_BYTES = 2048
"""Scratch for the sums of a tile."""


@njit(inline="always")
def settle(sums, multiplier, rows, place, output, buffer):
    """The sums of a tile: stored requantized at the channel of `rows` if the layer is plain, else put into `buffer`."""
    plain, bounds, _ = output
    _, channel, missing, count = place
    if plain != 0:
        store_requantized(sums, multiplier, rows, channel, bounds, missing, count)
    else:
        store_sums(sums, buffer)


def row_finisher(columns: int) -> Any:
    """Finishes `height` rows of sums in `buffer`: the epilogue of layers that are not plain."""

    @njit(inline="always")
    def finish_rows(buffer, height, y, y_stride, residual, residual_stride, place, output):
        _, _, settings = output
        low, high, zero, residual_zero, residual_multiplier, output_multiplier, activation, as_float = settings
        w, channel, missing, count = place
        width = columns * lane_count()
        multiplier = load_row_f32(w, width, columns)
        for row in range(height):
            sums = repeat(load_row_i32(buffer, row * width, columns), 1)
            target = repeat(y + row * y_stride, 1)
            value = multiply(to_float(sums), multiplier)
            if residual != 0:
                before = load_tile_bytes(repeat(residual + row * residual_stride, 1), channel, sums)
                value = add(value, multiply(to_float(int_subtract(before, residual_zero)), residual_multiplier))
            if activation == HARDSWISH:
                value = multiply(multiply(value, clamp(add(value, 3.0), 0.0, 6.0)), output_multiplier)
            value = clamp(value, low, high)
            if as_float != 0:
                if missing:
                    store_tile_partial(value, target, channel, count)
                else:
                    store_tile_f32(value, target, channel)
            else:
                stored = int_add(round_to_int(value), zero)
                if missing:
                    store_tile_bytes_partial(stored, target, channel, count)
                else:
                    store_tile_bytes(stored, target, channel)

    return finish_rows

"""What int8 layers do with the exact sums of a tile: scale, residual, hardswish, round, store bytes or float32.

Every float32 step is rounded on its own, as `edgenet.ops.conv.finish` defines it. Zero points are as they lie in
memory.

`output` of a layer: plain (1 if it only scales, rounds and clamps; `table_int8.RECTIFIED` if its sums are float32, and
clamped by storing them as bytes), bounds (zero point, least and greatest value as they lie in memory), and what the
other layers need: the addresses of y and of the residual (0: none), which is as large as y; low and high (before the
zero point is added; infinite where no value reaches 2**31, since storing bytes clamps); the residual's zero point and
multiplier; hardswish's multiplier; the activation's code, `table_int8.HARDSWISH` for
(f * clamp(f + 3, 0, 6)) * output_multiplier; whether y is float32.
"""

from __future__ import annotations

from numba import njit

from edgenet.kernels.simd import add, clamp, fma, multiply, store_tile_f32
from edgenet.kernels.simd_convert import as_float, int_subtract, to_float
from edgenet.kernels.simd_int8 import load_tile_bytes
from edgenet.kernels.simd_masked import store_tile_partial
from edgenet.kernels.simd_requantize import rectified_kernels, store_rounded
from edgenet.kernels.table_int8 import HARDSWISH, RECTIFIED, RECTIFIED_ONES
from edgenet.kernels.tuples import each_add, each_shift_right

_INFINITY = float("inf")


@njit(inline="always")
def finish(sums, multiplier, rows, place, output):
    """Stores a tile, row m at the channel of `place` of address rows[m]; `count` channels if some are missing."""
    _, channel, missing, count = place
    plain, bounds, settings = output
    if plain == RECTIFIED and rectified_kernels():
        scaled = fma(as_float(sums), multiplier, multiply(multiplier, -RECTIFIED_ONES))
        store_rounded(scaled, rows, channel, (0, 0, 255), missing, count)
        return
    value = multiply(to_float(sums), multiplier)
    stored_float = 0
    if plain == 0:
        y, residual, low, high, residual_zero, residual_multiplier, output_multiplier, activation, stored_float = (
            settings
        )
        if residual != 0:
            places = each_add(each_shift_right(each_add(rows, -y), 2 * stored_float), residual)
            before = int_subtract(load_tile_bytes(places, channel, sums), residual_zero)
            value = add(value, multiply(to_float(before), residual_multiplier))
        if activation == HARDSWISH:
            value = multiply(multiply(value, clamp(add(value, 3.0), 0.0, 6.0)), output_multiplier)
        if low > -_INFINITY or high < _INFINITY:
            value = clamp(value, low, high)
    if stored_float == 0:
        store_rounded(value, rows, channel, bounds, missing, count)
    elif missing:
        store_tile_partial(value, rows, channel, count)
    else:
        store_tile_f32(value, rows, channel)

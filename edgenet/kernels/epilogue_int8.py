"""What int8 layers do with their exact sums: scale, residual, hardswish, round, store bytes or float32.

Every float32 step is rounded on its own, as `edgenet.ops.conv.finish` defines it. Zero points are as they lie in
memory. The bounds `low` and `high` hold before the output's zero point is added.
"""

from __future__ import annotations

from numba import njit

from edgenet.kernels.simd import add, clamp, multiply, store_tile_f32
from edgenet.kernels.simd_convert import int_add, int_subtract, round_to_int, to_float
from edgenet.kernels.simd_int8 import load_tile_bytes, store_tile_bytes, store_tile_bytes_partial
from edgenet.kernels.simd_masked import store_tile_partial

HARDSWISH = 1
"""Code of (f * clamp(f + 3, 0, 6)) * output_multiplier; code 0 is the clamp to low..high alone."""


@njit(inline="always")
def finish(sums, multiplier, y, residual, channel, missing, count, output):
    """Epilogue of an int32 tile, stored at `channel` of the rows y; only `count` channels if some are missing.

    `output`: low, high, zero point, the residual's zero point and multiplier, hardswish's multiplier, the activation's
    code, and whether y is float32.
    """
    low, high, zero, residual_zero, residual_multiplier, output_multiplier, activation, as_float = output
    value = multiply(to_float(sums), multiplier)
    if residual[0] != 0:
        before = to_float(int_subtract(load_tile_bytes(residual, channel, sums), residual_zero))
        value = add(value, multiply(before, residual_multiplier))
    if activation == HARDSWISH:
        value = multiply(multiply(value, clamp(add(value, 3.0), 0.0, 6.0)), output_multiplier)
    value = clamp(value, low, high)
    if as_float != 0:
        if missing:
            store_tile_partial(value, y, channel, count)
        else:
            store_tile_f32(value, y, channel)
    else:
        stored = int_add(round_to_int(value), zero)
        if missing:
            store_tile_bytes_partial(stored, y, channel, count)
        else:
            store_tile_bytes(stored, y, channel)

"""What float32 kernels do with their sums: residual, activation, store."""

from __future__ import annotations

from numba import njit

from edgenet.kernels.simd import add, clamp, load_tile_f32, multiply, store_tile_f32
from edgenet.kernels.simd_masked import load_tile_partial, store_tile_partial

_INFINITY = float("inf")
HARDSWISH = 1
"""Activation code of x * clamp(x + 3, 0, 6) / 6; code 0 is the clamp to low..high alone."""


@njit(inline="always")
def activate(tile, low, high, activation):
    """The activation of a tile: hardswish if asked for, then the clamp to low..high, unless both are infinite."""
    if activation == HARDSWISH:
        tile = multiply(multiply(tile, clamp(add(tile, 3.0), 0.0, 6.0)), 1.0 / 6.0)
    if low > -_INFINITY or high < _INFINITY:
        tile = clamp(tile, low, high)
    return tile


@njit(inline="always")
def finish(tile, y, residual, channel, missing, count, low, high, activation):
    """Epilogue: residual, activation, store at `channel` of the rows y (`count` channels if some are missing)."""
    if missing:
        if residual[0] != 0:
            tile = add(tile, load_tile_partial(residual, channel, count, tile))
        store_tile_partial(activate(tile, low, high, activation), y, channel, count)
    else:
        if residual[0] != 0:
            tile = add(tile, load_tile_f32(residual, channel, tile))
        store_tile_f32(activate(tile, low, high, activation), y, channel)

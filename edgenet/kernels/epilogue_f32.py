"""What float32 kernels do with their sums: residual, activation, store."""

from __future__ import annotations

from typing import Any

from numba import njit

from edgenet.kernels.simd import add, clamp, load_tile_f32, multiply, store_tile_f32
from edgenet.kernels.simd_masked import load_tile_partial, store_tile_partial
from edgenet.kernels.tuples import places_along

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


def finisher_along(height: int) -> Any:
    """`finish` of `height` rows, those of y and of the residual (0: none) `y_stride` and `residual_stride` apart.

    `y` and `residual` are the addresses of the first row's channel.
    """

    @njit(inline="always")
    def finish_along(tile, y, y_stride, residual, residual_stride, missing, count, low, high, activation):
        if missing:
            if residual != 0:
                before = places_along(residual, residual_stride, height)
                tile = add(tile, load_tile_partial(before, 0, count, tile))
            rows = places_along(y, y_stride, height)
            store_tile_partial(activate(tile, low, high, activation), rows, 0, count)
        else:
            if residual != 0:
                tile = add(tile, load_tile_f32(places_along(residual, residual_stride, height), 0, tile))
            store_tile_f32(activate(tile, low, high, activation), places_along(y, y_stride, height), 0)

    return finish_along

"""The search for NaN in a network's inputs."""

from __future__ import annotations

from collections.abc import Callable

from edgenet.kernels.native import atomic_store
from edgenet.kernels.simd import add, clamp, lane_count, load_row_f32, repeat, splat_f32
from edgenet.kernels.simd_convert import first_lanes, sum_lanes
from edgenet.kernels.simd_masked import load_partial_f32
from edgenet.kernels.tuples import least

_VECTORS = 4
"""Vectors that are looked at together."""


def find_nan() -> Callable[..., None]:
    """Set the word at `found` to 1 where one of the `count` float32 values at `x` is NaN; else leave it. No units."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        count: int,
        found: int,
    ):
        lanes = lane_count()
        sums = repeat(splat_f32(0.0), _VECTORS)
        i = 0
        while i + _VECTORS * lanes <= count:
            sums = add(sums, clamp(load_row_f32(x, i, _VECTORS), 0.0, 0.0))
            i += _VECTORS * lanes
        total = add(add(sums[0], sums[1]), add(sums[2], sums[3]))
        while i < count:
            left = least(lanes, count - i)
            total = add(total, clamp(first_lanes(load_partial_f32(x, i, left), left, 0.0), 0.0, 0.0))
            i += left
        value = sum_lanes(total)
        if value != value:
            atomic_store(found, 1)

    return kernel

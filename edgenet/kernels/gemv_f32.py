"""float32 product of a matrix and a vector: linear layers of one sample.

Every weight is used once, and comes from an outer cache or from memory. Some panels are read at a time: those
deliver several streams faster than one, and the sums of a single panel are so few that each product would wait for the
one before. Panels, and the order of each sum, are those of `gemm_f32`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_f32 import finish
from edgenet.kernels.gemm_f32 import panel_product
from edgenet.kernels.simd import lane_count, load_row_f32, load_tile_f32, repeat
from edgenet.kernels.simd_outer import TURN, outer_fmas
from edgenet.kernels.simd_types import row_lanes
from edgenet.kernels.tuples import each_add, least, sequence


def _abreast(streams: int, columns: int) -> Any:
    """The outputs of `streams` whole panels from address `w` on, `panel_bytes` apart."""
    step = row_lanes(columns) * 4

    @njit(inline="always")
    def abreast(x, y, residual, w, panel_bytes, depth, epilogue):
        low, high, activation = epilogue
        places = sequence(w, panel_bytes, streams)
        sums = load_tile_f32(places, 0, repeat(load_row_f32(w, 0, columns), streams))
        places = each_add(places, step)
        whole = depth - depth % TURN
        for k in range(0, whole, TURN):
            sums = outer_fmas(sums, x, k, places, TURN)
            places = each_add(places, step * TURN)
        for k in range(whole, depth):
            sums = outer_fmas(sums, x, k, places, 1)
            places = each_add(places, step)
        finish(sums, sequence(y, step, streams), sequence(residual, step, streams), 0, False, 0, low, high, activation)

    return abreast


def matrix_vector(streams: int, columns: int) -> Callable[..., None]:
    """y[n] = activation(sum_k x[k] w[n, k] + bias[n] + residual[n]). Unit: `span` times `streams` panels.

    `streams`: panels of `columns` vectors that are read at a time.
    """
    abreast, product = _abreast(streams, columns), panel_product(1, columns)

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        residual: int,
        weights: int,
        depth: int,
        channels: int,
        span: int,
        low: float,
        high: float,
        activation: int,
    ):
        width = columns * lane_count()
        panel_bytes = (depth + 1) * width * 4
        epilogue = (low, high, activation)
        channel = begin * span * streams * width
        last = least(end * span * streams * width, channels)
        w = weights + begin * span * streams * panel_bytes
        while channel + streams * width <= last:
            before = residual
            if residual != 0:
                before = residual + channel * 4
            abreast(x, y + channel * 4, before, w, panel_bytes, depth, epilogue)
            channel += streams * width
            w += streams * panel_bytes
        operands = (x, 0, y, 0, residual, 0, w)
        while channel < last:
            product(operands, epilogue, w, depth, 0, 1, channel, channels - channel)
            channel += width
            w += panel_bytes

    return kernel

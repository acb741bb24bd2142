"""int8 product of a matrix and a vector: linear layers of one sample, where a product takes int16.

Every weight is used once, so that reading it takes longer than the arithmetic. Panels are those of `gemm_int8`, their
weights bytes, which are widened in registers. A unit widens x in the thread's scratch first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_int8 import finish
from edgenet.kernels.gemm_int8 import row_widener
from edgenet.kernels.simd import lane_count, load_row_f32, prefetch_l2, repeat
from edgenet.kernels.simd_int8 import load_row_i32, load_row_widened, outer_dot
from edgenet.kernels.simd_types import target
from edgenet.kernels.tuples import least

_TURN = 4
"""Groups that the loop below spells out."""
_LINE_BYTES = 64
_AHEAD = 4096
"""Bytes from the weights in use to those that are asked for: one page, where hardware starts anew."""


def _panel(columns: int) -> Any:
    """The outputs of a panel of `columns` vectors."""
    lines = -(-columns * target().lanes * 2 * _TURN // _LINE_BYTES)

    @njit(inline="always")
    def panel(rows, groups, out, output, place):
        w = place[0]
        width = columns * lane_count()
        sums = repeat(load_row_i32(w, 0, columns), 1)
        taps = w + 8 * width
        whole = groups - groups % _TURN
        for k in range(0, whole, _TURN):
            prefetch_l2(taps + k * width * 2 + _AHEAD, lines)
            sums = outer_dot(sums, rows, k, load_row_widened(taps, k * width, columns))
            sums = outer_dot(sums, rows, k + 1, load_row_widened(taps, (k + 1) * width, columns))
            sums = outer_dot(sums, rows, k + 2, load_row_widened(taps, (k + 2) * width, columns))
            sums = outer_dot(sums, rows, k + 3, load_row_widened(taps, (k + 3) * width, columns))
        for k in range(whole, groups):
            sums = outer_dot(sums, rows, k, load_row_widened(taps, k * width, columns))
        finish(sums, load_row_f32(w, width, columns), out, place, output)

    return panel


def matrix_vector(columns: int) -> Callable[..., None]:
    """y[n] = requantized(sum_k x[k] w[n, k] + bias[n]) with residual and activation. Unit: `span` panels.

    `groups` is the depth in pairs; `scratch_bytes` a thread's scratch, which holds x in whole registers.
    """
    wide, single = _panel(columns), _panel(1)
    widen_row = row_widener()

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        residual: int,
        weights: int,
        scratch: int,
        scratch_bytes: int,
        depth: int,
        groups: int,
        channels: int,
        span: int,
        plain: int,
        smallest: int,
        largest: int,
        low: float,
        high: float,
        zero: int,
        residual_zero: int,
        residual_multiplier: float,
        output_multiplier: float,
        activation: int,
        as_float: int,
    ):
        lanes = lane_count()
        width = columns * lanes
        panels = (channels + width - 1) // width
        panel_bytes = width * (8 + groups * 2)
        settings = (
            y, residual, low, high, residual_zero, residual_multiplier, output_multiplier, activation, as_float,
        )  # fmt: skip
        output = (plain, (zero, smallest, largest), settings)
        own = scratch + thread * scratch_bytes
        widen_row(x, own, depth)
        for panel in range(begin * span, least(end * span, panels)):
            channel = panel * width
            count = channels - channel
            place = (weights + panel * panel_bytes, channel, count % lanes != 0 and count < width, count)
            if columns == 1 or count > lanes:
                wide((own,), groups, (y,), output, place)
            else:
                single((own,), groups, (y,), output, place)

    return kernel

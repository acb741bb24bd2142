"""int8 matrix products of pairs of bytes, where these take fewer instructions than products of int16.

The instruction for them (see `simd_pairs`) is exact for two weights that add up to no more than 128 in magnitude. So
each panel of output channels has an order of its own in which the depth is taken, of channels that make such pairs for
all of its outputs (see `edgenet.prepare.byte_pairs`). The order is within each 16 channels, so that a tile's pixels are
brought into it a register at a time. The depth is taken in units of eight channels: first those that are two quads,
whose pairs' sums may be added as int16, then the others. The few channels that find no partner follow behind, with
none. While a tile's pixels are ordered, a share of the next panel is brought near.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_int8 import finish
from edgenet.kernels.gemm_int8 import first_output, of_whole_vectors, over_pixels
from edgenet.kernels.native import load_word
from edgenet.kernels.partition import block_start, unit_place
from edgenet.kernels.places import row_places
from edgenet.kernels.simd import load_row_f32, prefetch_l2, repeat
from edgenet.kernels.simd_bytes import register_bytes
from edgenet.kernels.simd_int8 import load_row_i32
from edgenet.kernels.simd_pairs import copy_byte_of_rows, outer_pair_dots, outer_quad_dots, reorder_rows
from edgenet.kernels.simd_types import row_lanes, target
from edgenet.kernels.table_int8 import UNIT_GROUPS
from edgenet.kernels.tuples import least, places_along, sequence

_LINE_BYTES = 64
_SHARE = 2
"""Bytes of the next panel that a tile asks for, for each byte of its depth."""


def pair_accumulator(columns: int) -> Any:
    """tile += x @ weights over `groups` of four of the depth: rows are the addresses of x, weights a row of `columns` a
    group. The first groups are `units`, whose places in x are the words at `places`; the first `quads` of them are two
    quads each.
    """
    step = row_lanes(columns) * 4

    @njit(inline="always")
    def accumulate(tile, rows, quads, units, places, groups, weights):
        for unit in range(quads):
            first = load_word(places + 8 * unit)
            tile = outer_quad_dots(tile, rows, first, weights + unit * UNIT_GROUPS * step)
        for unit in range(quads, units):
            first = load_word(places + 8 * unit)
            tile = outer_pair_dots(tile, rows, first, weights + unit * UNIT_GROUPS * step, UNIT_GROUPS)
        for k in range(UNIT_GROUPS * units, groups):
            tile = outer_pair_dots(tile, rows, k, weights + k * step, 1)
        return tile

    return accumulate


@cache
def _row_product(rows: int, second: int, columns: int) -> Any:
    """The pixels first..last-1 of one panel; the rows of x lie `x_stride` bytes apart, pixel `base` at `x`."""
    accumulate, width = pair_accumulator(columns), row_lanes(columns)
    lines = target().bits // 8 * _SHARE // _LINE_BYTES

    @njit(inline="always")
    def record(order, depth):
        """What stands behind an order: quads, units, channels without a partner, the places of units and of these."""
        words = order + (depth + register_bytes() - 1) // register_bytes() * register_bytes()
        units = (depth + 3) // 4 // UNIT_GROUPS
        places = words + 16
        return load_word(words), units, load_word(words + 8), places, places + 8 * units

    @njit(inline="always")
    def sums_of(rows_of_x, copies, order, depth, found, w, height, ahead):
        """A tile's sums. `ahead`: the share of the next panel that it asks for, or what is near already."""
        quads, units, alone, places, lonely = found
        for k in range(0, depth, register_bytes()):
            prefetch_l2(ahead + k * _SHARE, lines)
            reorder_rows(rows_of_x, k, order + k, copies)
        groups = (depth + 3) // 4
        for i in range(alone):
            copy_byte_of_rows(rows_of_x, load_word(lonely + 8 * i), copies, groups * 4 + 2 * i)
        groups += (alone + 1) // 2
        sums = repeat(load_row_i32(w, 0, columns), height)
        return accumulate(sums, copies, quads, units, places, groups, w + 8 * width)

    @njit(inline="always")
    def tile(job, pixel, last, height):
        source, target, output, place = job
        x, x_stride, base, copies, order, depth = source
        rows_of_x = row_places(x - base * x_stride, x_stride, pixel, last, height)
        copies = sequence(copies[0], copies[1], height)
        w = place[0]
        sums = sums_of(rows_of_x, copies, order, depth, record(order, depth), w, height, w)
        out = row_places(target[0], target[1], pixel, last, height)
        finish(sums, load_row_f32(w, width, columns), out, place, output)

    @njit(inline="always")
    def whole_tiles(job, pixel, last, height):
        source, target, output, place = job
        x, x_stride, base, copies, order, depth = source
        x += (pixel - base) * x_stride
        copies = sequence(copies[0], copies[1], height)
        found = record(order, depth)
        out, place = first_output(target, output, place, pixel)
        w = place[0]
        ahead = w + width * (8 + depth)
        for _ in range(pixel, last, height):
            rows_of_x = sequence(x, x_stride, height)
            sums = sums_of(rows_of_x, copies, order, depth, found, w, height, ahead)
            ahead += depth * _SHARE
            rows_of_y = places_along(out, target[1], height)
            finish(sums, load_row_f32(w, width, columns), rows_of_y, place, output)
            x += height * x_stride
            out += height * target[1]

    return over_pixels(tile, rows, second, whole_tiles)


def panels_product(rows: int, second: int, columns: int) -> Any:
    """The pixels first..last-1 of the panels from_panel..to_panel-1.

    `source`: as `_row_product` takes it, the order that of the first panel; `packed`: the first panel of weights, its
    groups, the bytes from one panel's order to the next, and the channels of all panels.
    """
    width = row_lanes(columns)
    product = of_whole_vectors(_row_product(rows, second, columns), _row_product(rows, second, 1), columns)

    @njit(inline="always")
    def panels(source, rows_of_y, output, packed, from_panel, to_panel, first, last):
        x, x_stride, base, copies, order, depth = source
        weights, groups, order_stride, channels = packed
        for panel in range(from_panel, least(to_panel, (channels + width - 1) // width)):
            of_panel = (x, x_stride, base, copies, order + panel * order_stride, depth)
            w = weights + panel * width * (8 + groups * 4)
            channel = panel * width
            product(of_panel, rows_of_y, output, w, channel, channels - channel, first, last)

    return panels


def pairs(rows: int, second: int, columns: int) -> Callable[..., None]:
    """y[p, n] = requantized(sum_k x[p, k] w[n, k] + bias[n]) with residual and activation.

    Unit: see `partition`. Panels are those of `gemm_int8` with `groups` of four bytes, room for channels without a
    partner included. A panel's record of `order_stride` bytes at `order` holds the place in its 16 of each channel that
    is taken, `depth` filled up to whole registers, then words: the number of units that are quads and of channels
    without a partner, the first group of each unit in the order it is taken, and each channel without a partner.
    A thread's scratch holds a tile's pixels, `scratch_stride` bytes each.
    """
    product = panels_product(rows, second, columns)

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        x_stride: int,
        y: int,
        y_stride: int,
        residual: int,
        weights: int,
        order: int,
        order_stride: int,
        scratch: int,
        scratch_stride: int,
        scratch_bytes: int,
        pixels: int,
        depth: int,
        groups: int,
        channels: int,
        blocks: int,
        spans: int,
        span: int,
        by_panel: int,
        quantum: int,
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
        settings = (
            y, residual, low, high, residual_zero, residual_multiplier, output_multiplier, activation, as_float,
        )  # fmt: skip
        output = (plain, (zero, smallest, largest), settings)
        source = (x, x_stride, 0, (scratch + thread * scratch_bytes, scratch_stride), order, depth)
        packed = (weights, groups, order_stride, channels)
        for unit in range(begin, end):
            block, part = unit_place(unit, blocks, spans, by_panel)
            first = block_start(pixels, block, blocks, quantum)
            last = block_start(pixels, block + 1, blocks, quantum)
            product(source, (y, y_stride), output, packed, part * span, part * span + span, first, last)

    return kernel

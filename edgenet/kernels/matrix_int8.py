"""int8 matrix products and convolutions in matrix registers (see `simd_matrix`).

A turn computes two tiles of `height` output pixels each times a panel of 32 output channels, and between its products
finishes what the turn before has left in the thread's scratch. A tile's pixels lie a constant number of bytes apart in
the input, so that a convolution needs no copy of its taps: its tiles do not reach from one output row into the next.
Where they begin, and which 64 bytes of input each part of the depth takes, stands in tables. Panels are those of
`gemm_int8` in whole tiles, those of a step one after the other, each run of taps that lies together filled up with
zeros; what is read behind it meets those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_int8 import finish
from edgenet.kernels.native import load_word
from edgenet.kernels.partition import block_start, unit_place
from edgenet.kernels.places import row_places
from edgenet.kernels.simd import lane_count, load_row_f32
from edgenet.kernels.simd_convert import int_add
from edgenet.kernels.simd_int8 import load_row_i32, load_sums
from edgenet.kernels.simd_matrix import (
    clear_sum_tiles,
    configure_tiles,
    load_tiles,
    multiply_and_load_tiles,
    multiply_tiles,
    release_tiles,
    store_sum_tiles,
)
from edgenet.kernels.table_int8 import TILE_BYTES, TILE_ROWS
from edgenet.kernels.tuples import least

CHUNK = 4
"""Rows that the epilogue finishes at a time: the least height of a tile."""
ENTRY_BYTES = 16
"""Of a tile's entry in the table of tiles."""


def _products(rows: int, columns: int) -> Any:
    """One of `steps` of 64 of the depth of `rows` by `columns` tiles; a step's tiles are loaded the step before."""

    @njit(inline="always")
    def products(step, steps, x, below, x_stride, weights):
        weights += step * columns * TILE_ROWS * TILE_BYTES
        if step == 0:
            load_tiles(rows, columns, x, below, x_stride, weights)
        else:
            multiply_and_load_tiles(rows, columns, x, below, x_stride, weights)
        if step == steps - 1:
            multiply_tiles(rows, columns)

    return products


def _panels_of_width(columns: int) -> Any:
    """The panels from_panel..to_panel-1 of the tiles first..last-1.

    `pitch`: the first panel of weights, and the bytes and channels from one to the next.
    """
    tile_sums = TILE_ROWS * TILE_BYTES * columns
    two, one = _products(2, columns), _products(1, columns)

    @njit(inline="always")
    def finish_chunk(sums, pixel, job, pitch, panel, channels):
        _, _, target, output = job
        lanes = lane_count()
        channel = panel * pitch[2]
        count = channels - channel
        place = (pitch[0], channel, count % lanes != 0 and count < columns * lanes, count)
        w = pitch[0] + panel * pitch[1]
        bias = load_row_i32(w, 0, columns)
        values = int_add(load_sums(sums, CHUNK, columns), bias)
        out = row_places(target[0], target[1], pixel, pixel + CHUNK, CHUNK)
        finish(values, load_row_f32(w, columns * lanes, columns), out, place, output)

    @njit(inline="always")
    def panels(job, pitch, channels, from_panel, to_panel, sums, first, last):
        (x, x_stride, tiles, places, steps), height, _, _ = job
        width = columns * lane_count()
        at_once = (2 * ((height + CHUNK - 1) // CHUNK) + steps - 1) // steps
        before, before_second, before_panel = -1, -1, from_panel
        tile, panel = first, from_panel
        while panel < to_panel or before >= 0:
            pixel, second, left, place, below = -1, -1, 0, 0, 0
            if panel < to_panel:
                left = steps
                entry = tiles + tile * ENTRY_BYTES
                place, pixel = load_word(entry), load_word(entry + 8)
                clear_sum_tiles()
                if tile + 1 < last:
                    entry += ENTRY_BYTES
                    below, second = load_word(entry) - place, load_word(entry + 8)
                place += x
            weights = pitch[0] + panel * pitch[1] + 8 * width
            step, row, done = 0, 0, sums
            while step < left or before >= 0:
                if step < left:
                    source = place + load_word(places + step * 8)
                    if second >= 0:
                        two(step, steps, source, below, x_stride, weights)
                    else:
                        one(step, steps, source, 0, x_stride, weights)
                    step += 1
                finished = 0
                while finished < at_once and before >= 0:
                    row = least(row, height - CHUNK)
                    finish_chunk(done + row * columns * TILE_BYTES, before + row, job, pitch, before_panel, channels)
                    row += CHUNK
                    if row >= height:
                        before, before_second = before_second, -1
                        row, done = 0, sums + tile_sums
                    finished += 1
            if second >= 0:
                store_sum_tiles(2, columns, sums, tile_sums)
            elif pixel >= 0:
                store_sum_tiles(1, columns, sums, 0)
            before, before_second, before_panel = pixel, second, panel
            tile += 2
            if tile >= last:
                tile = first
                panel += 1

    return panels


def matrix(columns: int) -> Callable[..., None]:
    """y[p, n] = requantized(sum_k x[p, k] w[n, k] + bias[n]) with residual and activation, x the taps of pixel p.

    `tiles`: for each tile the bytes from x to its first pixel's first tap, and the number of that pixel in y; the
    pixels of a tile follow each other in y, `height` of them, and lie `x_stride` bytes apart in x. `places`: for each
    of the `steps` of 64 of the depth, the bytes from a pixel's first tap to its input. `shapes` tells the height to the
    registers. A thread's scratch holds the sums of a turn. Unit: a block of tiles times a span of panels, see
    `partition`.
    """
    wide, single = _panels_of_width(columns), _panels_of_width(1)

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
        scratch: int,
        scratch_bytes: int,
        tiles: int,
        places: int,
        shapes: int,
        height: int,
        count: int,
        steps: int,
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
        lanes = lane_count()
        width = columns * lanes
        panels = (channels + width - 1) // width
        wide_panels = (channels + lanes - 1) // width
        settings = (
            y, residual, low, high, residual_zero, residual_multiplier, output_multiplier, activation, as_float,
        )  # fmt: skip
        output = (plain, (zero, smallest, largest), settings)
        job = ((x, x_stride, tiles, places, steps), height, (y, y_stride), output)
        pitch = (weights, width * (8 + steps * TILE_ROWS * 4), width)
        sums = scratch + thread * scratch_bytes
        configure_tiles(shapes)
        for unit in range(begin, end):
            block, part = unit_place(unit, blocks, spans, by_panel)
            first = block_start(count, block, blocks, quantum)
            last = block_start(count, block + 1, blocks, quantum)
            start, stop = part * span, least(part * span + span, panels)
            if first < last:
                wide(job, pitch, channels, start, least(stop, wide_panels), sums, first, last)
                if stop > wide_panels:
                    single(job, pitch, channels, wide_panels, stop, sums, first, last)
        release_tiles()

    return kernel

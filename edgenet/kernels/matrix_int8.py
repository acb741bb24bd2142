"""int8 matrix products and convolutions in matrix registers (see `simd_matrix`).

A turn computes some tiles of `height` pixels each times a panel of output channels, and between its products finishes
what the turn before has left in the thread's scratch. A tile's pixels lie a constant number of bytes apart in the
input, so that a convolution needs no copy of its taps. Its tiles end with an output row, or go on through the padding
between rows; sums there are not finished. Where tiles begin, which of their sums are whose, and which 64 bytes of input
each part of the depth takes, stands in tables. Panels are those of `gemm_int8` in whole tiles, those of a step one
after the other, each run of taps that lies together filled up with zeros; what is read behind it meets those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_int8 import finish
from edgenet.kernels.native import load_word, load_words
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
    multiply_column_of_tiles,
    multiply_tiles,
    release_tiles,
    store_sum_tiles,
)
from edgenet.kernels.table_int8 import CHUNK, CHUNK_ROWS, TILE_BYTES, TILE_ROWS
from edgenet.kernels.tuples import least

WORD_BYTES = 8
"""Of an entry of a table."""


def _products(rows: int, columns: int) -> Any:
    """One of `steps` of 64 of the depth of `rows` by `columns` tiles. Those of two rows load theirs the step before."""
    tall = rows > 2

    @njit(inline="always")
    def products(step, steps, places, offset, x_stride, weights):
        weights += step * columns * TILE_ROWS * TILE_BYTES
        if tall:
            multiply_column_of_tiles(rows, columns, places, offset, x_stride, weights)
        else:
            if step == 0:
                load_tiles(rows, columns, places, offset, x_stride, weights)
            else:
                multiply_and_load_tiles(rows, columns, places, offset, x_stride, weights)
            if step == steps - 1:
                multiply_tiles(rows, columns)

    return products


def _panels_of_width(rows: int, columns: int) -> Any:
    """The panels from_panel..to_panel-1 of the turns first..last-1.

    `pitch`: the first panel of weights, and the bytes and channels from one to the next.
    """
    line = TILE_BYTES * columns
    always_whole = rows > 2
    all_rows, one_row = _products(rows, columns), _products(1, columns)

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
        (x, x_stride, turns, places, steps), (height, chunks), _, _ = job
        width, turn_bytes = columns * lane_count(), (rows + chunks) * WORD_BYTES
        at_once = (chunks + steps - 1) // steps
        chunk, unfinished, before_panel = turns, 0, from_panel
        turn, panel = first, from_panel
        while panel < to_panel or unfinished > 0:
            left, whole = 0, 0
            entry = turns + turn * turn_bytes
            starts = load_words(entry, rows)
            if panel < to_panel:
                left = steps
                whole = starts[rows - 1] >= 0
                clear_sum_tiles()
            weights = pitch[0] + panel * pitch[1] + 8 * width
            step = 0
            while step < left or unfinished > 0:
                if step < left:
                    offset = x + load_word(places + step * WORD_BYTES)
                    if always_whole or whole:
                        all_rows(step, steps, starts, offset, x_stride, weights)
                    else:
                        one_row(step, steps, starts, offset, x_stride, weights)
                    step += 1
                finished = 0
                while finished < at_once and unfinished > 0:
                    place = load_word(chunk)
                    if place >= 0:
                        row = place % CHUNK_ROWS
                        finish_chunk(sums + row * line, place // CHUNK_ROWS, job, pitch, before_panel, channels)
                    chunk += WORD_BYTES
                    unfinished -= 1
                    finished += 1
            if left > 0:
                if always_whole or whole:
                    store_sum_tiles(rows, columns, sums, height * line)
                else:
                    store_sum_tiles(1, columns, sums, 0)
                chunk, unfinished, before_panel = entry + rows * WORD_BYTES, chunks, panel
            turn += 1
            if turn >= last:
                turn = first
                panel += 1

    return panels


def matrix(rows: int, columns: int) -> Callable[..., None]:
    """y[p, n] = requantized(sum_k x[p, k] w[n, k] + bias[n]) with residual and activation, x the taps of pixel p.

    Turns have `rows` by `columns` tiles; those of two rows may have one. `turns`: for each of `count` turns the bytes
    from x to each tile's first pixel's first tap, or -1 for a second tile that there is not, then `chunks` entries of
    four pixels that follow each other in y (see CHUNK_ROWS), or -1. A tile's `height` pixels lie `x_stride` bytes apart
    in x. `places`: for each of the `steps` of 64 of the depth, the bytes from a pixel's first tap to its input.
    `shapes` tells the height to the registers. A thread's scratch holds the sums of a turn. Unit: a block of turns
    times a span of panels, see `partition`.
    """
    wide, single = _panels_of_width(rows, columns), _panels_of_width(rows, 1)

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
        turns: int,
        chunks: int,
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
        job = ((x, x_stride, turns, places, steps), (height, chunks), (y, y_stride), output)
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
                if columns > 1 and stop > wide_panels:
                    single(job, pitch, channels, wide_panels, stop, sums, first, last)
        release_tiles()

    return kernel

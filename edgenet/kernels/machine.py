"""Kernels that measure the machine: peak multiply-add rates, speeds of memory, messages between cores. Unit: a pass."""

from __future__ import annotations

from collections.abc import Callable

from edgenet.kernels.gemm_f32 import accumulator
from edgenet.kernels.native import atomic_load, atomic_store, pause
from edgenet.kernels.pairs_int8 import pair_accumulator
from edgenet.kernels.simd import (
    add,
    lane_count,
    load_f32,
    load_row_f32,
    maximum,
    multiply,
    repeat,
    splat_f32,
    store,
    store_tile_f32,
)
from edgenet.kernels.simd_convert import to_float
from edgenet.kernels.simd_int8 import load_row_i32, outer_dot, store_sums
from edgenet.kernels.simd_matrix import (
    configure_tiles,
    load_tiles,
    multiply_and_load_tiles,
    release_tiles,
    store_sum_tiles,
)
from edgenet.kernels.simd_requantize import store_rounded
from edgenet.kernels.table_int8 import TILE_BYTES, TILE_ROWS, UNIT_GROUPS
from edgenet.kernels.tuples import sequence


def peak_f32(rows: int, columns: int) -> Callable[..., None]:
    """A float32 tile of `rows` x `columns` vectors over `depth`, all of whose operands stay in the L1 cache."""
    accumulate = accumulator(columns)

    def kernel(begin: int, end: int, thread: int, x: int, weights: int, depth: int, sink: int):
        places = sequence(x, 0, rows)
        sums = repeat(load_row_f32(weights, 0, columns), rows)
        for _ in range(begin, end):
            sums = accumulate(sums, places, depth, weights)
        store_tile_f32(sums, sequence(sink, 0, rows), 0)

    return kernel


def peak_int8(rows: int, columns: int) -> Callable[..., None]:
    """As `peak_f32` for the exact product of int8 values; `depth` counts groups of an instruction.

    Each row has values of its own: the compiler makes products of equal ones once.
    """

    def kernel(begin: int, end: int, thread: int, x: int, weights: int, depth: int, sink: int):
        places = sequence(x, 4 * depth, rows)
        sums = repeat(load_row_i32(weights, 0, columns), rows)
        for _ in range(begin, end):
            for k in range(depth):
                sums = outer_dot(sums, places, k, load_row_i32(weights, k * columns * lane_count(), columns))
        store_sums(sums, sink)

    return kernel


def peak_pairs(rows: int, columns: int) -> Callable[..., None]:
    """As `peak_int8` for pairs of bytes that are quads (see `pairs_int8`); x are zeros, the units' places, too."""
    accumulate = pair_accumulator(columns)

    def kernel(begin: int, end: int, thread: int, x: int, weights: int, depth: int, sink: int):
        places = sequence(x, 4 * depth, rows)
        sums = repeat(load_row_i32(weights, 0, columns), rows)
        for _ in range(begin, end):
            sums = accumulate(sums, places, depth // UNIT_GROUPS, depth // UNIT_GROUPS, x, depth, weights)
        store_sums(sums, sink)

    return kernel


def peak_matrix(columns: int) -> Callable[..., None]:
    """Products of two by `columns` tiles in matrix registers, each of whose operands is loaded from the L1 cache."""

    def kernel(begin: int, end: int, thread: int, x: int, weights: int, shapes: int, sink: int):
        below = TILE_ROWS * TILE_BYTES
        places = (x, x + below)
        configure_tiles(shapes)
        load_tiles(2, columns, places, 0, TILE_BYTES, weights)
        for _ in range(begin, end):
            multiply_and_load_tiles(2, columns, places, 0, TILE_BYTES, weights)
        store_sum_tiles(2, columns, sink, columns * below)
        release_tiles()

    return kernel


def peak_requantize(rows: int, columns: int) -> Callable[..., None]:
    """A tile of int8 results from sums in registers: one product an element, then scaled, rounded, clamped, stored."""

    def kernel(begin: int, end: int, thread: int, x: int, weights: int, sink: int):
        places = sequence(x, 4, rows)
        targets = sequence(sink, 64 * columns, rows)
        multiplier = load_row_f32(weights, 0, columns)
        sums = repeat(load_row_i32(weights, 0, columns), rows)
        for _ in range(begin, end):
            sums = outer_dot(sums, places, 0, load_row_i32(weights, 0, columns))
            store_rounded(multiply(to_float(sums), multiplier), targets, 0, (0, 0, 127), 0, 0)

    return kernel


def read_memory() -> Callable[..., None]:
    """Read `count` vectors from `x` in order, eight a turn."""

    def kernel(begin: int, end: int, thread: int, x: int, count: int, sink: int):
        lanes = lane_count()
        total = splat_f32(0.0)
        other = splat_f32(0.0)
        for _ in range(begin, end):
            for i in range(0, count * lanes, 8 * lanes):
                first = maximum(load_f32(x, i), load_f32(x, i + lanes))
                second = maximum(load_f32(x, i + 2 * lanes), load_f32(x, i + 3 * lanes))
                third = maximum(load_f32(x, i + 4 * lanes), load_f32(x, i + 5 * lanes))
                fourth = maximum(load_f32(x, i + 6 * lanes), load_f32(x, i + 7 * lanes))
                total = maximum(total, maximum(first, second))
                other = maximum(other, maximum(third, fourth))
        store(add(total, other), sink, 0)

    return kernel


def write_memory() -> Callable[..., None]:
    """Fill `count` vectors from `y` in order, eight a turn."""

    def kernel(begin: int, end: int, thread: int, y: int, count: int):
        lanes = lane_count()
        value = splat_f32(1.0)
        for _ in range(begin, end):
            for i in range(0, count * lanes, 8 * lanes):
                for k in range(8):
                    store(value, y, i + k * lanes)

    return kernel


def copy_memory() -> Callable[..., None]:
    """Copy `count` vectors from `x` to `y` in order, eight a turn."""

    def kernel(begin: int, end: int, thread: int, x: int, y: int, count: int):
        lanes = lane_count()
        for _ in range(begin, end):
            for i in range(0, count * lanes, 8 * lanes):
                for k in range(8):
                    store(load_f32(x, i + k * lanes), y, i + k * lanes)

    return kernel


def messages() -> Callable[..., None]:
    """Pass a word at `x`, 0 at first, to and fro between two callers at the same time, whose `side` is 0 and 1."""

    def kernel(begin: int, end: int, thread: int, x: int, side: int):
        for turn in range(begin, end):
            while atomic_load(x) != 2 * turn + side:
                pause()
            atomic_store(x, 2 * turn + side + 1)

    return kernel

"""Outer products over some values of the depth at a time: a tile of sums += columns of x times rows of weights.

A loop of turns of four has a fourth of the instructions that count and branch. Where another program uses the core's
other hardware thread, instructions of any kind are what is short. Arm multiplies by one lane of a vector: a turn loads
each row of x once there, since splatting every value from memory would occupy the multipliers' pipelines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd import emit_fma
from edgenet.kernels.simd_int8 import byte_dots, spread_lane, word_dots
from edgenet.kernels.simd_types import (
    F32,
    I32,
    I64,
    constant_int,
    items,
    load_vector,
    pack,
    pointer,
    shuffle_mask,
    splat,
    target,
)

TURN = 4
"""Values of the depth; as many as a vector of Arm has 32-bit lanes."""

Emit = Callable[[ir.IRBuilder, list[ir.Value], Any, list[ir.Value]], list[ir.Value]]


def by_lane() -> bool:
    """Whether the selected instruction set multiplies by a lane."""
    return target().architecture == "aarch64"


def dots_of_a_turn() -> int:
    """Groups of int8: fewer where registers are short, for products of two instructions or for a larger tile."""
    return {"madd16": 2, "generic": 2, "vnni512": 1}.get(target().dot, TURN)


def _lane_of(vector: ir.Value, element: ir.Type) -> Callable[[ir.IRBuilder, int], Any]:
    """Gives a vector with one lane of `vector` for every lane, as the products take it."""
    if element is I32:
        return lambda builder, lane: spread_lane(builder, vector, lane)
    return lambda builder, lane: builder.shuffle_vector(vector, vector, shuffle_mask([lane] * TURN))


def outer_product(name: str, element: ir.Type, emit: Emit, what: str) -> Any:
    """Make the operation; on Arm, a row of x is loaded where the first of its lanes is needed: loaded all before, they
    would cost a register more than there are.
    """

    def outer(typingctx: Any, tile: Any, rows: Any, index: Any, weights: Any, count: Any) -> Any:
        steps = constant_int(count)

        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
            tile_kind = sig.args[0]
            lanes, columns = tile_kind.dtype.dtype.lanes, len(tile_kind.dtype)
            vector = ir.VectorType(element, lanes)
            sums = [items(builder, row, tile_kind.dtype) for row in items(builder, args[0], tile_kind)]
            places, panels = (
                items(builder, args[i], sig.args[i]) if isinstance(sig.args[i], types.BaseTuple) else [args[i]]
                for i in (1, 3)
            )
            by_lanes = by_lane() and steps == TURN
            spread: dict[int, Callable[[ir.IRBuilder, int], Any]] = {}
            for step in range(steps):
                first = step * columns * lanes
                taps = [
                    [load_vector(builder, panel, vector, first + j * lanes) for j in range(columns)] for panel in panels
                ]
                for m in range(len(sums)):
                    place, row = places[m % len(places)], taps[m % len(taps)]
                    if not by_lanes:
                        index = builder.add(args[2], I64(step))
                        x = splat(builder, builder.load(pointer(builder, place, element, index), align=1), lanes)
                    else:
                        if step == 0:
                            spread[m] = _lane_of(load_vector(builder, place, vector, args[2]), element)
                        x = spread[m](builder, step)
                    sums[m] = emit(builder, sums[m], x, row)
            return pack(context, builder, tile_kind, [pack(context, builder, tile_kind.dtype, row) for row in sums])

        return tile(tile, rows, types.int64, weights, count), codegen

    outer.__name__ = name
    outer.__doc__ = (
        f"{name}(tile, rows, index, weights, count): tile[m] += `count` {what} from number `index` on of address "
        "rows[m], times as many rows of weights at the address weights[m]. One address stands for as many of the same. "
        "`count` is any; on Arm, TURN makes the products by lane."
    )
    return intrinsic(prefer_literal=True)(outer)


def _multiply_add(builder: ir.IRBuilder, sums: list[ir.Value], x: ir.Value, row: list[ir.Value]) -> list[ir.Value]:
    return [emit_fma(builder, [x, w, total]) for total, w in zip(sums, row, strict=True)]


outer_fmas = outer_product("outer_fmas", F32, _multiply_add, "float32")
outer_dots = outer_product("outer_dots", I32, byte_dots, "groups")
outer_word_dots = outer_product("outer_word_dots", I32, word_dots, "pairs of int16")

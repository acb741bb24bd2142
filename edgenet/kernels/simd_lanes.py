"""Products by lane: instructions that multiply a vector of weights by one lane of another vector, as Arm has them.

A step takes as many values of the depth as a vector of x has 32-bit lanes, so that each row of x is loaded once in
as many products; splatting every value from memory would occupy the multipliers' pipelines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd import emit_fma
from edgenet.kernels.simd_int8 import dot, group_vector, spread_lane
from edgenet.kernels.simd_types import f32v, items, load_vector, pack, pointer, shuffle_mask, target

Emit = Callable[[ir.IRBuilder, ir.Value, ir.Value, ir.Value], ir.Value]


def by_lane() -> bool:
    """Whether the selected instruction set multiplies by a lane."""
    return target().architecture == "aarch64"


def _outer(
    context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value], weight: ir.VectorType, spread: Any, emit: Emit
) -> ir.Value:
    """tile[m] += the lanes of the vector at element `index` of rows[m] times as many rows of weights.

    Each row is loaded where lane 0 needs it: loaded all before, they would cost a register more than there are.
    """
    tile_kind = sig.args[0]
    lanes, columns = target().lanes, len(tile_kind.dtype)
    tile = [items(builder, row, tile_kind.dtype) for row in items(builder, args[0], tile_kind)]
    places = items(builder, args[1], sig.args[1])
    vectors: list[ir.Value] = []
    for lane in range(lanes):
        first = lane * columns * lanes
        weights = [load_vector(builder, args[3], weight, first + j * lanes) for j in range(columns)]
        for m, row in enumerate(tile):
            if lane == 0:
                start = pointer(builder, places[m], weight.element, args[2])
                vectors.append(builder.load(builder.bitcast(start, weight.as_pointer()), align=1))
            x = spread(builder, vectors[m], lane)
            for j, w in enumerate(weights):
                row[j] = emit(builder, row[j], x, w)
    return pack(context, builder, tile_kind, [pack(context, builder, tile_kind.dtype, row) for row in tile])


def _splat_lane(builder: ir.IRBuilder, vector: ir.Value, lane: int) -> ir.Value:
    return builder.shuffle_vector(vector, vector, shuffle_mask([lane] * vector.type.count))


@intrinsic
def outer_fma_lanes(typingctx: Any, tile: Any, rows: Any, index: Any, weights: Any) -> Any:
    """outer_fma_lanes(tile, rows, index, weights): `outer_fma` for a vector's worth of depth from `index` on.

    weights: address of as many rows of weights.
    """

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return _outer(
            context, builder, sig, args, f32v().llvm, _splat_lane, lambda b, total, x, w: emit_fma(b, [x, w, total])
        )

    return tile(tile, rows, types.int64, types.int64), codegen


@intrinsic
def outer_dot_lanes(typingctx: Any, tile: Any, rows: Any, index: Any, weights: Any) -> Any:
    """outer_dot_lanes(tile, rows, index, weights): `outer_dot` for a vector's worth of groups from `index` on.

    weights: address of as many rows of groups.
    """

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return _outer(context, builder, sig, args, group_vector().llvm, spread_lane, dot)

    return tile(tile, rows, types.int64, types.int64), codegen

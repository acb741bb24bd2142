"""Interleaving of planes: channels-first to channels-last for images of few channels."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_types import (
    I64,
    constant_int,
    f32v,
    items,
    load_vector,
    pack,
    row_of,
    shuffle_mask,
    store_vector,
)


@intrinsic(prefer_literal=True)
def load_planes_f32(typingctx: Any, address: Any, plane_stride: Any, index: Any, count: Any) -> Any:
    """load_planes_f32(address, plane_stride, index, count): the vector at element `index` of each of `count` planes."""
    times, vector = constant_int(count), f32v()

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        values = []
        for i in range(times):
            place = builder.add(args[0], builder.mul(args[1], I64(i)))
            values.append(load_vector(builder, place, vector.llvm, args[2]))
        return pack(context, builder, sig.return_type, values)

    return row_of(vector, times)(types.int64, types.int64, types.int64, count), codegen


def concatenated(builder: ir.IRBuilder, vectors: list[ir.Value]) -> ir.Value:
    """One long vector with the lanes of all, behind each other."""
    result = vectors[0]
    for vector in vectors[1:]:
        have, more = result.type.count, vector.type.count
        if more < have:
            widen = shuffle_mask([min(i, more - 1) for i in range(have)])
            vector = builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), widen)
        lanes = [*range(have), *(have + i for i in range(more))]
        result = builder.shuffle_vector(result, vector, shuffle_mask(lanes))
    return result


@intrinsic
def store_interleaved_f32(typingctx: Any, planes: Any, address: Any, index: Any) -> Any:
    """store_interleaved_f32(planes, address, index): lane 0 of every plane, lane 1, ..., from element `index` on."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        vectors = items(builder, args[0], sig.args[0])
        lanes, count = vectors[0].type.count, len(vectors)
        joined = concatenated(builder, vectors)
        for part in range(count):
            picked = [(part * lanes + i) % count * lanes + (part * lanes + i) // count for i in range(lanes)]
            piece = builder.shuffle_vector(joined, ir.Constant(joined.type, ir.Undefined), shuffle_mask(picked))
            store_vector(builder, piece, args[1], builder.add(args[2], I64(part * lanes)))
        return context.get_dummy_value()

    return types.void(planes, types.int64, types.int64), codegen

"""Loads and stores of the first few lanes only, and of rows of vectors whose last columns are missing."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_types import (
    ELEMENT_BYTES,
    F32,
    I32,
    I64,
    Vector,
    call_intrinsic,
    f32v,
    items,
    pack,
    pointer,
    splat,
    vector_suffix,
)

_ALIGNMENT_ARGUMENT = llvm.llvm_version_info[0] < 22


def lane_mask(builder: ir.IRBuilder, count: ir.Value, lanes: int, first: int = 0) -> ir.Value:
    """<lanes x i1>: whether first + lane < count."""
    numbers = ir.Constant(ir.VectorType(I32, lanes), [first + lane for lane in range(lanes)])
    return builder.icmp_signed("<", numbers, splat(builder, builder.trunc(count, I32), lanes))


def masked_load(builder: ir.IRBuilder, place: ir.Value, kind: ir.VectorType, mask: ir.Value) -> ir.Value:
    """Vector of type `kind` with zero where the mask is off."""
    zero = ir.Constant(kind, [0.0 if isinstance(kind.element, ir.FloatType) else 0] * kind.count)
    place = builder.bitcast(place, kind.as_pointer())
    extra = [I32(1)] if _ALIGNMENT_ARGUMENT else []
    return call_intrinsic(builder, f"llvm.masked.load.{vector_suffix(kind)}.p0", kind, [place, *extra, mask, zero])


def masked_store(builder: ir.IRBuilder, value: ir.Value, place: ir.Value, mask: ir.Value) -> None:
    """Store the lanes whose mask is on."""
    kind = value.type
    place = builder.bitcast(place, kind.as_pointer())
    extra = [I32(1)] if _ALIGNMENT_ARGUMENT else []
    name = f"llvm.masked.store.{vector_suffix(kind)}.p0"
    call_intrinsic(builder, name, ir.VoidType(), [value, place, *extra, mask])


@intrinsic
def load_partial_f32(typingctx: Any, address: Any, index: Any, count: Any) -> Any:
    """load_partial_f32(address, index, count): the first `count` lanes from memory, zero in the others."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        kind = sig.return_type.llvm
        return masked_load(
            builder, pointer(builder, args[0], F32, args[1]), kind, lane_mask(builder, args[2], kind.count)
        )

    return f32v()(types.int64, types.int64, types.int64), codegen


@intrinsic
def store_partial(typingctx: Any, value: Any, address: Any, index: Any, count: Any) -> Any:
    """store_partial(vector, address, index, count): store the first `count` lanes only."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        kind = sig.args[0].llvm
        place = pointer(builder, args[1], kind.element, args[2])
        masked_store(builder, args[0], place, lane_mask(builder, args[3], kind.count))
        return context.get_dummy_value()

    return types.void(value, types.int64, types.int64, types.int64), codegen


@intrinsic
def store_tile_partial(typingctx: Any, tile: Any, rows: Any, index: Any, count: Any) -> Any:
    """store_tile_partial(tile, rows, index, count): the first `count` elements of each row of the tile."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        vector: Vector = sig.args[0].dtype.dtype
        bytes_each = ELEMENT_BYTES[vector.element]
        columns = len(sig.args[0].dtype)
        masks = [lane_mask(builder, args[3], vector.lanes, j * vector.lanes) for j in range(columns)]
        for place, row in zip(items(builder, args[1], sig.args[1]), items(builder, args[0], sig.args[0]), strict=True):
            start = builder.add(place, builder.mul(args[2], I64(bytes_each)))
            for j, value in enumerate(items(builder, row, sig.args[0].dtype)):
                address = pointer(builder, start, vector.llvm.element, j * vector.lanes)
                masked_store(builder, value, address, masks[j])
        return context.get_dummy_value()

    return types.void(tile, rows, types.int64, types.int64), codegen


@intrinsic
def load_tile_partial(typingctx: Any, rows: Any, index: Any, count: Any, like: Any) -> Any:
    """load_tile_partial(rows, index, count, like): a tile shaped as `like`, zero beyond the first `count` of a row."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        kind, out = sig.return_type, []
        vector: Vector = kind.dtype.dtype
        bytes_each = ELEMENT_BYTES[vector.element]
        masks = [lane_mask(builder, args[2], vector.lanes, j * vector.lanes) for j in range(len(kind.dtype))]
        for place in items(builder, args[0], sig.args[0]):
            start = builder.add(place, builder.mul(args[1], I64(bytes_each)))
            values = [
                masked_load(builder, pointer(builder, start, vector.llvm.element, j * vector.lanes), vector.llvm, mask)
                for j, mask in enumerate(masks)
            ]
            out.append(pack(context, builder, kind.dtype, values))
        return pack(context, builder, kind, out)

    return like(rows, types.int64, types.int64, like), codegen

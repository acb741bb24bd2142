"""Movements of lanes between vectors: transposition of square tiles, interleaving."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_bytes import store_first_bytes
from edgenet.kernels.simd_masked import lane_mask, masked_load, masked_store
from edgenet.kernels.simd_types import (
    F32,
    I64,
    Vector,
    constant_int,
    items,
    load_vector,
    pack,
    pointer,
    row_of,
    shuffle_mask,
    store_vector,
    target,
)

BYTE_TILE = 16
"""Rows and columns of a transposed tile of bytes."""


def tile_vector(element_bytes: int) -> Vector:
    """The vector that is one row of a transposed tile."""
    return Vector("f32", target().lanes) if element_bytes == 4 else Vector("i8", BYTE_TILE)


@intrinsic(prefer_literal=True)
def tile_side(typingctx: Any, element_bytes: Any) -> Any:
    """tile_side(element_bytes): rows and columns of a transposed tile, as a compile-time constant."""
    side = tile_vector(constant_int(element_bytes)).lanes

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return I64(side)

    return types.int64(element_bytes), codegen


def _transposed(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Swap the off-diagonal blocks of 1, 2, 4, ... elements."""
    side, rows = len(rows), list(rows)
    step = 1
    while step < side:
        upper = [j if not j & step else side + (j ^ step) for j in range(side)]
        lower = [side + j if j & step else j ^ step for j in range(side)]
        for i in range(side):
            if not i & step:
                a, b = rows[i], rows[i | step]
                rows[i] = builder.shuffle_vector(a, b, shuffle_mask(upper))
                rows[i | step] = builder.shuffle_vector(a, b, shuffle_mask(lower))
        step *= 2
    return rows


def _load_first(builder: ir.IRBuilder, place: ir.Value, kind: ir.VectorType, count: ir.Value) -> ir.Value:
    if isinstance(kind.element, ir.FloatType):
        return masked_load(builder, pointer(builder, place, F32), kind, lane_mask(builder, count, kind.count))
    return load_vector(builder, place, kind)


def _store_first(builder: ir.IRBuilder, value: ir.Value, place: ir.Value, count: ir.Value) -> None:
    if isinstance(value.type.element, ir.FloatType):
        masked_store(builder, value, pointer(builder, place, F32), lane_mask(builder, count, value.type.count))
    else:
        store_first_bytes(builder, value, place, count)


@intrinsic(prefer_literal=True)
def transpose_tile(typingctx: Any, x: Any, x_stride: Any, y: Any, y_stride: Any, element_bytes: Any) -> Any:
    """transpose_tile(x, x_stride, y, y_stride, element_bytes): y[j][i] = x[i][j] of one square tile; byte strides."""
    kind = tile_vector(constant_int(element_bytes)).llvm

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        place, out = args[0], args[2]
        rows = []
        for _ in range(kind.count):
            rows.append(load_vector(builder, place, kind))
            place = builder.add(place, args[1])
        for row in _transposed(builder, rows):
            store_vector(builder, row, out)
            out = builder.add(out, args[3])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4, element_bytes), codegen


@intrinsic(prefer_literal=True)
def transpose_tile_partial(
    typingctx: Any, x: Any, x_stride: Any, y: Any, y_stride: Any, rows: Any, columns: Any, element_bytes: Any
) -> Any:
    """As `transpose_tile`, for the first `rows` (at least 1) rows and `columns` columns of x only."""
    kind = tile_vector(constant_int(element_bytes)).llvm

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        place, x_stride, out, y_stride, rows, columns, _ = args
        loaded = []
        for i in range(kind.count):
            loaded.append(_load_first(builder, place, kind, columns))
            more = builder.icmp_signed("<", I64(i + 1), rows)
            place = builder.select(more, builder.add(place, x_stride), place)
        for j, row in enumerate(_transposed(builder, loaded)):
            with builder.if_then(builder.icmp_signed("<", I64(j), columns)):
                _store_first(builder, row, builder.add(out, builder.mul(y_stride, I64(j))), rows)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, element_bytes), codegen


def _interleaved(builder: ir.IRBuilder, vectors: list[ir.Value]) -> list[ir.Value]:
    """The elements of k vectors in turn: a0 b0 c0 a1 b1 c1 ..., as k vectors."""
    lanes, k, out = vectors[0].type.count, len(vectors), []
    for j in range(k):
        places = [divmod(j * lanes + lane, k) for lane in range(lanes)]
        value = vectors[0]
        known = [element if source == 0 else 0 for element, source in places]
        for other in range(1, k):
            mask = [
                lanes + element if source == other else (lane if other > 1 else known[lane])
                for lane, (element, source) in enumerate(places)
            ]
            value = builder.shuffle_vector(value, vectors[other], shuffle_mask(mask))
        out.append(value)
    return out


@intrinsic
def interleave(typingctx: Any, row: Any) -> Any:
    """interleave(row): the elements of the row's vectors in turn, as a row."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return pack(context, builder, sig.return_type, _interleaved(builder, items(builder, args[0], sig.args[0])))

    return row(row), codegen


@intrinsic(prefer_literal=True)
def load_planes(typingctx: Any, x: Any, stride: Any, count: Any, planes: Any, element_bytes: Any) -> Any:
    """load_planes(x, stride, count, planes, element_bytes): vectors `stride` bytes apart, `count` lanes each."""
    vector, k = tile_vector(constant_int(element_bytes)), constant_int(planes)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        out = []
        for plane in range(k):
            place = builder.add(args[0], builder.mul(args[1], I64(plane)))
            out.append(_load_first(builder, place, vector.llvm, args[2]))
        return pack(context, builder, sig.return_type, out)

    return row_of(vector, k)(types.int64, types.int64, types.int64, planes, element_bytes), codegen


@intrinsic
def store_first(typingctx: Any, row: Any, y: Any, count: Any) -> Any:
    """store_first(row, y, count): the first `count` elements of a row of vectors, contiguously."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        vector: Vector = sig.args[0].dtype
        size = vector.lanes * (4 if vector.element == "f32" else 1)
        for j, value in enumerate(items(builder, args[0], sig.args[0])):
            left = builder.sub(args[2], I64(j * vector.lanes))
            with builder.if_then(builder.icmp_signed(">", left, I64(0))):
                _store_first(builder, value, builder.add(args[1], I64(j * size)), left)
        return context.get_dummy_value()

    return types.void(row, types.int64, types.int64), codegen


@intrinsic
def store_all(typingctx: Any, row: Any, y: Any) -> Any:
    """store_all(row, y): all elements of a row of vectors, contiguously."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        for j, value in enumerate(items(builder, args[0], sig.args[0])):
            store_vector(builder, value, args[1], j * value.type.count)
        return context.get_dummy_value()

    return types.void(row, types.int64), codegen

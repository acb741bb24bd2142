"""Lookups of bytes in tables of 256 bytes: in registers where the CPU can, else one element at a time."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_types import (
    I8,
    I32,
    I64,
    Vector,
    call_intrinsic,
    load_vector,
    pointer,
    shuffle_mask,
    splat,
    target,
    vector_suffix,
)


def _register() -> Vector:
    return Vector("i8", target().bits // 8)


@intrinsic(prefer_literal=True)
def lookup_lanes(typingctx: Any) -> Any:
    """Bytes that `look_up_bytes` looks up at once, as a compile-time constant."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return I64(_register().lanes)

    return types.int64(), codegen


@intrinsic
def load_index(typingctx: Any, address: Any, index: Any) -> Any:
    """load_index(address, index): one byte as an unsigned number."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return builder.zext(builder.load(pointer(builder, args[0], I8, args[1])), I64)

    return types.int64(types.int64, types.int64), codegen


def _one_by_one(builder: ir.IRBuilder, places: list[ir.Value], count: int) -> ir.Value:
    """Vector of the bytes at `places`."""
    result = ir.Constant(ir.VectorType(I8, count), ir.Undefined)
    for lane, place in enumerate(places):
        result = builder.insert_element(result, builder.load(pointer(builder, place, I8)), I32(lane))
    return result


def _scalar_lookup(builder: ir.IRBuilder, indices: ir.Value, table: ir.Value) -> ir.Value:
    lanes = range(indices.type.count)
    numbers = [builder.zext(builder.extract_element(indices, I32(lane)), I64) for lane in lanes]
    return _one_by_one(builder, [builder.add(table, number) for number in numbers], indices.type.count)


def _shuffle_bytes(builder: ir.IRBuilder, table: ir.Value, indices: ir.Value) -> ir.Value:
    """Byte table[i & 15] within each 16 bytes, 0 where the top bit of i is set."""
    name = {32: "llvm.x86.avx2.pshuf.b", 64: "llvm.x86.avx512.pshuf.b.512"}[indices.type.count]
    return call_intrinsic(builder, name, indices.type, [table, indices])


def _x86_lookup(builder: ir.IRBuilder, indices: ir.Value, table: ir.Value) -> ir.Value:
    """Sixteen tables of 16 bytes. Adding 0x70 with saturation sets the top bit of an index that is not below 16."""
    kind = indices.type
    result = ir.Constant(kind, [0] * kind.count)
    above = ir.Constant(kind, [0x70] * kind.count)
    sixteen = ir.VectorType(I8, 16)
    for part in range(16):
        entries = load_vector(builder, table, sixteen, part * 16)
        entries = builder.shuffle_vector(entries, entries, shuffle_mask([i % 16 for i in range(kind.count)]))
        place = builder.xor(indices, ir.Constant(kind, [part * 16] * kind.count)) if part else indices
        place = call_intrinsic(builder, f"llvm.uadd.sat.{vector_suffix(kind)}", kind, [place, above])
        result = builder.or_(result, _shuffle_bytes(builder, entries, place))
    return result


def _arm_lookup(builder: ir.IRBuilder, indices: ir.Value, table: ir.Value) -> ir.Value:
    """Four tables of 64 bytes; an index of 64 or more gives 0."""
    kind = indices.type
    result = ir.Constant(kind, [0] * kind.count)
    for part in range(4):
        entries = [load_vector(builder, table, kind, part * 64 + i * 16) for i in range(4)]
        place = builder.sub(indices, splat(builder, I8(part * 64), kind.count))
        found = call_intrinsic(builder, "llvm.aarch64.neon.tbl4.v16i8", kind, [*entries, place])
        result = builder.or_(result, found)
    return result


@intrinsic
def look_up_bytes(typingctx: Any, indices: Any, table: Any) -> Any:
    """look_up_bytes(vector, table): the bytes table[i] of a table of 256 bytes, by unsigned index."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        if target().architecture == "aarch64":
            return _arm_lookup(builder, args[0], args[1])
        return (_x86_lookup if target().bits > 128 else _scalar_lookup)(builder, args[0], args[1])

    return indices(indices, types.int64), codegen


@intrinsic
def look_up_channels(typingctx: Any, place: Any, tables: Any) -> Any:
    """look_up_channels(place, tables): tables[256 * lane + byte at place + lane] of each 32-bit lane."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        places = []
        for lane in range(target().lanes):
            number = builder.zext(builder.load(pointer(builder, args[0], I8, lane)), I64)
            places.append(builder.add(args[1], builder.add(number, I64(256 * lane))))
        return _one_by_one(builder, places, target().lanes)

    return Vector("i8", target().lanes)(types.int64, types.int64), codegen

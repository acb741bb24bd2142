"""Vectors of bytes: loads, stores of a few bytes, and int8 values as int32 vectors.

int8 values lie in memory as the instruction set stores them (`InstructionSet.stored_unsigned`); widening follows that.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_masked import lane_mask, masked_store
from edgenet.kernels.simd_types import (
    I8,
    I32,
    I64,
    Vector,
    constant_int,
    i32v,
    items,
    load_vector,
    pack,
    pointer,
    row_of,
    shuffle_mask,
    splat,
    store_vector,
    target,
)


@intrinsic(prefer_literal=True)
def register_bytes(typingctx: Any) -> Any:
    """Bytes of a vector register, as a compile-time constant."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return I64(target().bits // 8)

    return types.int64(), codegen


@intrinsic(prefer_literal=True)
def copy_chunk(typingctx: Any, source: Any, destination: Any, size: Any) -> Any:
    """copy_chunk(source, destination, size): copy `size` bytes, a constant power of two, in one move."""
    kind = ir.IntType(8 * constant_int(size)) if constant_int(size) <= 8 else ir.VectorType(I8, constant_int(size))

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        value = builder.load(builder.inttoptr(args[0], kind.as_pointer()), align=1)
        builder.store(value, builder.inttoptr(args[1], kind.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, size), codegen


@intrinsic
def copy_register(typingctx: Any, source: Any, destination: Any) -> Any:
    """copy_register(source, destination): copy as many bytes as a register holds."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        kind = ir.VectorType(I8, target().bits // 8)
        store_vector(builder, load_vector(builder, args[0], kind), args[1])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic(prefer_literal=True)
def fill_chunk(typingctx: Any, pattern: Any, destination: Any, size: Any) -> Any:
    """fill_chunk(pattern, destination, size): repeat the low 32 bits of `pattern` over `size` (4 or more) bytes.

    `size` 1 stores the lowest byte.
    """
    count = constant_int(size)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        word = builder.trunc(args[0], I8 if count == 1 else I32)
        value = splat(builder, word, count // 4) if count > 4 else word
        builder.store(value, builder.inttoptr(args[1], value.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, size), codegen


def widen(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Stored bytes as int32 lanes."""
    kind = ir.VectorType(I32, value.type.count)
    return builder.zext(value, kind) if target().stored_unsigned else builder.sext(value, kind)


@intrinsic
def load_bytes(typingctx: Any, address: Any, index: Any) -> Any:
    """load_bytes(address, index): one int32 vector of the bytes that begin at `index`. Reads all lanes."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return widen(builder, load_vector(builder, args[0], ir.VectorType(I8, target().lanes), args[1]))

    return i32v()(types.int64, types.int64), codegen


@intrinsic(prefer_literal=True)
def load_row_bytes(typingctx: Any, address: Any, index: Any, columns: Any) -> Any:
    """load_row_bytes(address, index, columns): `columns` adjacent int32 vectors of bytes."""
    count, vector = constant_int(columns), i32v()

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        kind = ir.VectorType(I8, vector.lanes)
        place = builder.add(args[0], args[1])
        values = [widen(builder, load_vector(builder, place, kind, j * vector.lanes)) for j in range(count)]
        return pack(context, builder, sig.return_type, values)

    return row_of(vector, count)(types.int64, types.int64, columns), codegen


def store_first_bytes(builder: ir.IRBuilder, value: ir.Value, place: ir.Value, count: ir.Value) -> None:
    """Store the first `count` (0 .. lanes) bytes of a vector at the byte address `place`."""
    lanes = value.type.count
    if target().bits == 512:
        masked_store(builder, value, pointer(builder, place, I8), lane_mask(builder, count, lanes))
        return
    full = builder.icmp_signed(">=", count, I64(lanes))
    with builder.if_else(full) as (whole, partial):
        with whole:
            store_vector(builder, value, place)
        with partial:
            half = lanes // 2
            while half:
                low = builder.shuffle_vector(value, value, shuffle_mask(list(range(half))))
                high = builder.shuffle_vector(value, value, shuffle_mask(list(range(half, 2 * half))))
                present = builder.icmp_signed("!=", builder.and_(count, I64(half)), I64(0))
                with builder.if_then(present):
                    store_vector(builder, low, place)
                place = builder.select(present, builder.add(place, I64(half)), place)
                value = builder.select(present, high, low)
                half //= 2


def _narrow(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return builder.trunc(value, ir.VectorType(I8, value.type.count))


@intrinsic
def store_bytes(typingctx: Any, value: Any, address: Any, index: Any) -> Any:
    """store_bytes(vector, address, index): the low byte of each int32 lane."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        store_vector(builder, _narrow(builder, args[0]), args[1], args[2])
        return context.get_dummy_value()

    return types.void(value, types.int64, types.int64), codegen


@intrinsic
def store_bytes_partial(typingctx: Any, value: Any, address: Any, index: Any, count: Any) -> Any:
    """store_bytes_partial(vector, address, index, count): the low byte of each of the first `count` lanes."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        store_first_bytes(builder, _narrow(builder, args[0]), builder.add(args[1], args[2]), args[3])
        return context.get_dummy_value()

    return types.void(value, types.int64, types.int64, types.int64), codegen


@intrinsic
def store_row_bytes(typingctx: Any, row: Any, address: Any) -> Any:
    """store_row_bytes(row, address): the low bytes of a row of int32 vectors, contiguously."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        for j, value in enumerate(items(builder, args[0], sig.args[0])):
            store_vector(builder, _narrow(builder, value), args[1], j * value.type.count)
        return context.get_dummy_value()

    return types.void(row, types.int64), codegen


@intrinsic
def store_row_bytes_partial(typingctx: Any, row: Any, address: Any, count: Any) -> Any:
    """store_row_bytes_partial(row, address, count): the first `count` low bytes of a row of int32 vectors."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        for j, value in enumerate(items(builder, args[0], sig.args[0])):
            left = builder.sub(args[2], I64(j * value.type.count))
            with builder.if_then(builder.icmp_signed(">", left, I64(0))):
                place = builder.add(args[1], I64(j * value.type.count))
                store_first_bytes(builder, _narrow(builder, value), place, left)
        return context.get_dummy_value()

    return types.void(row, types.int64, types.int64), codegen


@intrinsic(prefer_literal=True)
def load_i8(typingctx: Any, address: Any, index: Any, lanes: Any) -> Any:
    """load_i8(address, index, lanes): a vector of `lanes` bytes as they lie in memory; 0 lanes: a whole register."""
    vector = Vector("i8", constant_int(lanes) or target().bits // 8)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return load_vector(builder, args[0], vector.llvm, args[1])

    return vector(types.int64, types.int64, lanes), codegen


@intrinsic
def splat_i8(typingctx: Any, value: Any) -> Any:
    """splat_i8(byte): a register with the byte in every lane."""
    vector = Vector("i8", target().bits // 8)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return splat(builder, builder.trunc(args[0], I8), vector.lanes)

    return vector(types.int64), codegen


@intrinsic
def store_i8_partial(typingctx: Any, value: Any, address: Any, index: Any, count: Any) -> Any:
    """store_i8_partial(vector, address, index, count): store the first `count` bytes."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        store_first_bytes(builder, args[0], builder.add(args[1], args[2]), args[3])
        return context.get_dummy_value()

    return types.void(value, types.int64, types.int64, types.int64), codegen

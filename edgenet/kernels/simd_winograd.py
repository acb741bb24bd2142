"""Vector operations of Winograd convolution: windows and lines of vectors, and the transposition of square ones."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_int8 import widened_words
from edgenet.kernels.simd_types import (
    F32,
    I32,
    I64,
    Vector,
    constant_int,
    f32v,
    items,
    join,
    load_vector,
    pack,
    row_of,
    store_vector,
    target,
    unknown,
)


@intrinsic(prefer_literal=True)
def load_window_f32(typingctx: Any, rows: Any, columns: Any, inside: Any, zeros: Any, clipped: Any) -> Any:
    """load_window_f32(rows, columns, inside, zeros, clipped): tile of the vectors at rows[i] + columns[j].

    With `clipped`, where inside[0][i] or inside[1][j] is 0 the vector at `zeros` is read instead.
    """
    check = bool(constant_int(clipped))
    vector = f32v()
    row = row_of(vector, len(columns))

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        lines, offsets = items(builder, args[0], sig.args[0]), items(builder, args[1], sig.args[1])
        inside_y, inside_x = (items(builder, v, sig.args[2].dtype) for v in items(builder, args[2], sig.args[2]))
        out = []
        for line, valid_y in zip(lines, inside_y, strict=True):
            values = []
            for offset, valid_x in zip(offsets, inside_x, strict=True):
                place = builder.add(line, offset)
                if check:
                    valid = builder.icmp_signed("!=", builder.and_(valid_y, valid_x), I64(0))
                    place = builder.select(valid, place, args[3])
                values.append(load_vector(builder, place, vector.llvm))
            out.append(pack(context, builder, row, values))
        return pack(context, builder, sig.return_type, out)

    return row_of(row, len(rows))(rows, columns, inside, types.int64, clipped), codegen


@intrinsic
def made_here(typingctx: Any, factors: Any) -> Any:
    """made_here(factors): a tuple of float32 that LLVM does not know, and so makes here, not before loops around.

    Constants that it keeps in registers through other loops of a kernel are not there for the sums of those.
    """
    count = len(factors)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        kind, values = ir.FunctionType(I32, [I32]), []
        for value in items(builder, args[0], sig.args[0]):
            bits = builder.bitcast(builder.fptrunc(value, F32), I32)
            values.append(builder.bitcast(builder.asm(kind, "", "=r,0", [bits], True), F32))
        return pack(context, builder, sig.return_type, values)

    return row_of(types.float32, count)(row_of(types.float64, count)), codegen


@intrinsic
def transpose(typingctx: Any, tile: Any) -> Any:
    """transpose(tile): entry [j][i] is entry [i][j]; no data moves."""
    height, width = len(tile), len(tile.dtype)
    row = row_of(tile.dtype.dtype, height)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        cells = [items(builder, line, tile.dtype) for line in items(builder, args[0], tile)]
        lines = [pack(context, builder, row, [cells[i][j] for i in range(height)]) for j in range(width)]
        return pack(context, builder, sig.return_type, lines)

    return row_of(row, width)(tile), codegen


@intrinsic
def store_spread_f32(typingctx: Any, tile: Any, address: Any, stride: Any) -> Any:
    """store_spread_f32(tile, address, stride): entry number i in row-major order at address + i * stride bytes."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        place = args[1]
        for line in items(builder, args[0], sig.args[0]):
            for value in items(builder, line, sig.args[0].dtype):
                store_vector(builder, value, place)
                place = builder.add(place, args[2])
        return context.get_dummy_value()

    return types.void(tile, types.int64, types.int64), codegen


@intrinsic(prefer_literal=True)
def load_spread_f32(typingctx: Any, address: Any, stride: Any, size: Any) -> Any:
    """load_spread_f32(address, stride, size): the inverse of store_spread_f32 for a square tile."""
    count, vector = constant_int(size), f32v()
    row = row_of(vector, count)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        place, lines = args[0], []
        for _ in range(count):
            values = []
            for _ in range(count):
                values.append(load_vector(builder, place, vector.llvm))
                place = builder.add(place, args[1])
            lines.append(pack(context, builder, row, values))
        return pack(context, builder, sig.return_type, lines)

    return row_of(row, count)(types.int64, types.int64, size), codegen


@intrinsic
def load_widened_each(typingctx: Any, places: Any) -> Any:
    """load_widened_each(places): at each place, a register of int16 from as many stored bytes."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        values = [widened_words(builder, place) for place in items(builder, args[0], sig.args[0])]
        return pack(context, builder, sig.return_type, values)

    return row_of(Vector("i16", target().bits // 16), len(places))(places), codegen


def _loads_along(vector: Vector, count: int) -> Any:
    """Code generator of `count` loads of a vector from the address args[0] on, args[1] bytes apart."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        places = [builder.add(args[0], builder.mul(args[1], I64(i))) for i in range(count)]
        return pack(context, builder, sig.return_type, [load_vector(builder, place, vector.llvm) for place in places])

    return codegen


@intrinsic(prefer_literal=True)
def load_along(typingctx: Any, address: Any, stride: Any, count: Any, bits: Any) -> Any:
    """load_along(address, stride, count, bits): registers of integers of so many bits, `stride` bytes apart."""
    times, width = constant_int(count), constant_int(bits)
    vector = Vector(f"i{width}", target().bits // width)
    return row_of(vector, times)(types.int64, types.int64, count, bits), _loads_along(vector, times)


@intrinsic(prefer_literal=True)
def load_along_f32(typingctx: Any, address: Any, stride: Any, count: Any) -> Any:
    """load_along_f32(address, stride, count): vectors of float32, `stride` bytes apart."""
    times, vector = constant_int(count), f32v()
    return row_of(vector, times)(types.int64, types.int64, count), _loads_along(vector, times)


@intrinsic(prefer_literal=True)
def load_pairs_along_f32(typingctx: Any, address: Any, apart: Any, stride: Any, count: Any) -> Any:
    """load_pairs_along_f32(address, apart, stride, count): `stride` bytes apart, vectors of four float32 and the four
    that begin `apart` bytes behind these.
    """
    times, vector = constant_int(count), Vector("f32", 8)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        four, values, first = ir.VectorType(F32, 4), [], unknown(builder, args[0])
        for i in range(times):
            place = builder.add(first, builder.mul(args[2], I64(i)))
            values.append(join(builder, *(load_vector(builder, p, four) for p in (place, builder.add(place, args[1])))))
        return pack(context, builder, sig.return_type, values)

    return row_of(vector, times)(types.int64, types.int64, types.int64, count), codegen


@intrinsic
def store_along(typingctx: Any, row: Any, address: Any, stride: Any) -> Any:
    """store_along(row, address, stride): the vectors of a row, `stride` bytes apart."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        for i, value in enumerate(items(builder, args[0], sig.args[0])):
            store_vector(builder, value, builder.add(args[1], builder.mul(args[2], I64(i))))
        return context.get_dummy_value()

    return types.void(row, types.int64, types.int64), codegen

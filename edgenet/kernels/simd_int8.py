"""Vector operations of int8 matrix products: sums of products of grouped bytes or int16, and tiles of bytes in memory.

A group is as many adjacent values of the depth as one lane of the product instruction takes: four bytes for `vpdpbusd`,
`sdot` and the Arm widening multiply, two int16 for `pmaddwd`. For the widening multiply, a vector holds the first two
bytes of every lane's group, then the last two. All sums are exact int32.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_bytes import widen
from edgenet.kernels.simd_types import (
    ELEMENT_BYTES,
    I8,
    I16,
    I32,
    I64,
    Vector,
    call_intrinsic,
    constant_int,
    i32v,
    items,
    keep_together,
    load_vector,
    pack,
    pointer,
    row_of,
    row_shape,
    shuffle_mask,
    splat,
    store_vector,
    target,
)


def group_vector() -> Vector:
    """Vector of weights that one product instruction takes: a group for each lane."""
    return i32v()


Groups = ir.Value | list[ir.Value]
"""A vector of groups, or its halves where these are multiplied one after the other."""


def dot(builder: ir.IRBuilder, total: ir.Value, x: Groups, w: ir.Value) -> ir.Value:
    """total + the sum of the products of each group; x and w are vectors of groups."""
    lanes, kind = total.type.count, target().dot
    if kind in ("vnni512", "vnni"):
        return call_intrinsic(builder, f"llvm.x86.avx512.vpdpbusd.{32 * lanes}", total.type, [total, x, w])
    if kind == "sdot":
        quads = ir.VectorType(I8, 16)
        arguments = [total, builder.bitcast(w, quads), builder.bitcast(x, quads)]  # the last may be one lane
        return call_intrinsic(builder, "llvm.aarch64.neon.sdot.v4i32.v16i8", total.type, arguments)
    if kind == "smull":
        words = ir.VectorType(I16, 8)
        pairs = zip(*(v if isinstance(v, list) else _halves(builder, v) for v in (x, w)), strict=True)
        both = builder.add(
            *(call_intrinsic(builder, "llvm.aarch64.neon.smull.v8i16", words, [*pair]) for pair in pairs)
        )
        # Two products fit in int16, as weights are -127 at least.
        return builder.add(total, call_intrinsic(builder, "llvm.aarch64.neon.saddlp.v4i32.v8i16", total.type, [both]))
    return builder.add(total, _pair_products(builder, x, w))


def _pair_products(builder: ir.IRBuilder, x: ir.Value, w: ir.Value) -> ir.Value:
    """The sums of two products of int16 in each lane."""
    lanes = x.type.count
    pairs = ir.VectorType(I16, 2 * lanes)
    name = {4: "sse2.pmadd.wd", 8: "avx2.pmadd.wd", 16: "avx512.pmaddw.d.512"}[lanes]
    products = [builder.bitcast(x, pairs), builder.bitcast(w, pairs)]
    return call_intrinsic(builder, f"llvm.x86.{name}", ir.VectorType(I32, lanes), products)


def byte_dots(builder: ir.IRBuilder, totals: list[ir.Value], x: Groups, weights: list[ir.Value]) -> list[ir.Value]:
    """`dot` of x, as `spread_lane` gives it, with each of the weights.

    Where product and sum are two instructions, all products come before the first sum: sums between them would take
    the multipliers' pipelines.
    """
    if target().dot not in ("madd16", "generic"):
        return [dot(builder, total, x, w) for total, w in zip(totals, weights, strict=True)]
    products = keep_together(builder, [_pair_products(builder, x, w) for w in weights])
    return [builder.add(total, product) for total, product in zip(totals, products, strict=True)]


def _halves(builder: ir.IRBuilder, groups: ir.Value) -> list[ir.Value]:
    """The lower and the upper eight bytes of a vector of groups."""
    values = builder.bitcast(groups, ir.VectorType(I8, 16))
    return [builder.shuffle_vector(values, values, shuffle_mask([first + i for i in range(8)])) for first in (0, 8)]


def spread_lane(builder: ir.IRBuilder, groups: ir.Value, lane: int) -> Groups:
    """A vector of groups with the four bytes of `lane` of `groups`, which lie as in memory, for every lane."""
    if target().dot != "smull":
        return builder.shuffle_vector(groups, groups, shuffle_mask([lane] * groups.type.count))
    pairs = builder.bitcast(groups, ir.VectorType(I16, 8))
    halves = [builder.shuffle_vector(pairs, pairs, shuffle_mask([2 * lane + side] * 4)) for side in (0, 1)]
    return [builder.bitcast(half, ir.VectorType(I8, 8)) for half in halves]


@intrinsic(prefer_literal=True)
def load_row_i32(typingctx: Any, address: Any, index: Any, columns: Any) -> Any:
    """load_row_i32(address, index, columns): `columns` adjacent vectors of int32 or groups; for 0, the narrow one."""
    count, vector = row_shape(constant_int(columns), "i32")

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        place = builder.ptrtoint(pointer(builder, args[0], I32, args[1]), I64)
        values = [load_vector(builder, place, vector.llvm, j * vector.lanes) for j in range(count)]
        return pack(context, builder, sig.return_type, values)

    return row_of(vector, count)(types.int64, types.int64, columns), codegen


@intrinsic(prefer_literal=True)
def load_row_widened(typingctx: Any, address: Any, index: Any, columns: Any) -> Any:
    """load_row_widened(address, index, columns): `load_row_i32` of pairs of int16 that lie as bytes in memory."""
    count, vector = row_shape(constant_int(columns), "i32")

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        pairs = 2 * vector.lanes
        place = builder.add(args[0], builder.mul(args[1], I64(2)))
        values = []
        for j in range(count):
            value = builder.sext(
                load_vector(builder, place, ir.VectorType(I8, pairs), j * pairs), ir.VectorType(I16, pairs)
            )
            values.append(builder.bitcast(value, vector.llvm))
        return pack(context, builder, sig.return_type, values)

    return row_of(vector, count)(types.int64, types.int64, columns), codegen


def word_dots(builder: ir.IRBuilder, totals: list[ir.Value], x: Groups, weights: list[ir.Value]) -> list[ir.Value]:
    """Sums of products of pairs of int16; for instruction sets that have an instruction for them."""
    if target().dot not in ("vnni512", "vnni"):
        return byte_dots(builder, totals, x, weights)
    kind = totals[0].type
    name = f"llvm.x86.avx512.vpdpwssd.{32 * kind.count}"
    return [call_intrinsic(builder, name, kind, [total, x, w]) for total, w in zip(totals, weights, strict=True)]


@intrinsic
def outer_dot(typingctx: Any, tile: Any, rows: Any, index: Any, row: Any) -> Any:
    """outer_dot(tile, rows, index, row): tile[m] += the group `index` of address rows[m] times the groups of row."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        tile_kind, row_kind = sig.args[0], sig.args[3]
        weights, out = items(builder, args[3], row_kind), []
        element, lanes = row_kind.dtype.llvm.element, row_kind.dtype.lanes
        places = items(builder, args[1], sig.args[1])
        for place, sums in zip(places, items(builder, args[0], tile_kind), strict=True):
            x = splat(builder, builder.load(pointer(builder, place, element, args[2]), align=1), lanes)
            if target().dot == "smull":
                x = spread_lane(builder, x, 0)
            values = byte_dots(builder, items(builder, sums, tile_kind.dtype), x, weights)
            out.append(pack(context, builder, tile_kind.dtype, values))
        return pack(context, builder, tile_kind, out)

    return tile(tile, rows, types.int64, row), codegen


def widened_words(builder: ir.IRBuilder, place: ir.Value) -> ir.Value:
    """A register of int16 from as many stored bytes."""
    words = ir.VectorType(I16, target().bits // 16)
    value = load_vector(builder, place, ir.VectorType(I8, words.count))
    return builder.zext(value, words) if target().stored_unsigned else builder.sext(value, words)


@intrinsic
def load_widened(typingctx: Any, source: Any) -> Any:
    """load_widened(source): a register of int16 from as many stored bytes."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return widened_words(builder, args[0])

    return Vector("i16", target().bits // 16)(types.int64), codegen


@intrinsic
def store_sums(typingctx: Any, tile: Any, destination: Any) -> Any:
    """store_sums(tile, destination): an int32 tile, its rows one behind the other."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        number = 0
        for row in items(builder, args[0], sig.args[0]):
            for value in items(builder, row, sig.args[0].dtype):
                store_vector(builder, value, args[1], number * target().lanes)
                number += 1
        return context.get_dummy_value()

    return types.void(tile, types.int64), codegen


@intrinsic(prefer_literal=True)
def load_sums(typingctx: Any, source: Any, rows: Any, columns: Any) -> Any:
    """load_sums(source, rows, columns): the int32 tile that `store_sums` has written."""
    height, width = constant_int(rows), constant_int(columns)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        kind, lanes, tile = sig.return_type, target().lanes, []
        for m in range(height):
            numbers = range(m * width, (m + 1) * width)
            values = [load_vector(builder, args[0], i32v().llvm, number * lanes) for number in numbers]
            tile.append(pack(context, builder, kind.dtype, values))
        return pack(context, builder, kind, tile)

    return row_of(row_of(i32v(), width), height)(types.int64, rows, columns), codegen


@intrinsic(prefer_literal=True)
def no_sums(typingctx: Any, rows: Any, columns: Any) -> Any:
    """no_sums(rows, columns): an int32 tile of zeros."""
    height, width = constant_int(rows), constant_int(columns)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        row = pack(context, builder, sig.return_type.dtype, [ir.Constant(i32v().llvm, None)] * width)
        return pack(context, builder, sig.return_type, [row] * height)

    return row_of(row_of(i32v(), width), height)(rows, columns), codegen


def _loader(name: str, element: str) -> Any:
    bits = 8 * ELEMENT_BYTES[element]

    def load(typingctx: Any, address: Any, index: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
            return load_vector(builder, args[0], sig.return_type.llvm, args[1])

        return Vector(element, target().bits // bits)(types.int64, types.int64), codegen

    load.__name__, load.__doc__ = name, f"{name}(address, index): the register that begins at element `index`."
    return intrinsic(load)


load_i16 = _loader("load_i16", "i16")
load_i32 = _loader("load_i32", "i32")


@intrinsic
def load_tile_bytes(typingctx: Any, rows: Any, index: Any, like: Any) -> Any:
    """load_tile_bytes(rows, index, like): an int32 tile shaped as `like` of the stored bytes at rows[m] + index."""
    lanes = like.dtype.dtype.lanes
    result = row_of(row_of(Vector("i32", lanes), len(like.dtype)), len(like))

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        kind, out = sig.return_type, []
        for place in items(builder, args[0], sig.args[0]):
            start = builder.add(place, args[1])
            loads = [load_vector(builder, start, ir.VectorType(I8, lanes), j * lanes) for j in range(len(kind.dtype))]
            out.append(pack(context, builder, kind.dtype, [widen(builder, value) for value in loads]))
        return pack(context, builder, kind, out)

    return result(rows, types.int64, like), codegen

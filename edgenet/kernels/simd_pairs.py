"""Products of adjacent bytes whose sums in int16 must not overflow (`vpmaddubsw`), and the order of bytes that needs.

The instruction multiplies unsigned by signed bytes and adds two neighbouring products, saturated to int16. It is exact
where the two weights add up to no more than 128 in magnitude, since 255 * 128 < 2**15. Two such sums may be added as
int16 where the four weights' positive ones add up to no more than 128, and the negative ones to no less than -128.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_outer import outer_product
from edgenet.kernels.simd_types import (
    I8,
    I16,
    I32,
    I64,
    call_intrinsic,
    items,
    keep_together,
    load_vector,
    pack,
    pointer,
    splat,
    store_vector,
    target,
    unknown,
)

_PAIR_PRODUCTS = {256: "avx2.pmadd.ub.sw", 512: "avx512.pmaddubs.w.512"}
_PAIR_SUMS = {256: "avx2.pmadd.wd", 512: "avx512.pmaddw.d.512"}
_REORDER = {256: "avx2.pshuf.b", 512: "avx512.pshuf.b.512"}
"""LLVM's names by the bits of a register."""


def _register(element: ir.IntType) -> ir.VectorType:
    return ir.VectorType(element, target().bits // element.width)


def _call(builder: ir.IRBuilder, names: dict[int, str], result: ir.IntType, arguments: list[ir.Value]) -> ir.Value:
    return call_intrinsic(builder, f"llvm.x86.{names[target().bits]}", _register(result), arguments)


def _pair_dots(builder: ir.IRBuilder, totals: list[ir.Value], x: ir.Value, weights: list[ir.Value]) -> list[ir.Value]:
    """totals + the sums of the four products of each lane; all products come before the first sum (see `byte_dots`)."""
    ones, products = ir.Constant(_register(I16), [1] * (target().bits // 16)), []
    for w in weights:
        sums = _call(builder, _PAIR_PRODUCTS, I16, [builder.bitcast(value, _register(I8)) for value in (x, w)])
        products.append(_call(builder, _PAIR_SUMS, I32, [sums, ones]))
    products = keep_together(builder, products)
    return [builder.add(total, product) for total, product in zip(totals, products, strict=True)]


outer_pair_dots = outer_product("outer_pair_dots", I32, _pair_dots, "groups of four bytes")


def _quad_dots(
    builder: ir.IRBuilder, totals: list[ir.Value], x: list[ir.Value], weights: list[ir.Value]
) -> list[ir.Value]:
    """totals + the sums of the eight products of each lane: two groups `x` with the weights of one, then the other."""
    ones, products = ir.Constant(_register(I16), [1] * (target().bits // 16)), []
    for j in range(len(totals)):
        of_group = zip(x, weights[j :: len(totals)], strict=True)
        sums = [_call(builder, _PAIR_PRODUCTS, I16, list(factors)) for factors in of_group]
        products.append(_call(builder, _PAIR_SUMS, I32, [builder.add(*sums), ones]))
    products = keep_together(builder, products)
    return [builder.add(total, product) for total, product in zip(totals, products, strict=True)]


@intrinsic
def outer_quad_dots(typingctx: Any, tile: Any, rows: Any, index: Any, weights: Any) -> Any:
    """outer_quad_dots(tile, rows, index, weights): tile[m] += two groups from number `index` on of address rows[m],
    times two rows of weights at the address `weights`.

    Two neighbouring products of the first group and two of the second are added as int16. Where registers are few, the
    weights of the second group are read from memory for each row.
    """

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        tile_kind, register = sig.args[0], _register(I8)
        lanes, columns = tile_kind.dtype.dtype.lanes, len(tile_kind.dtype)
        held = columns if target().registers == 16 else 2 * columns
        address = args[3]
        w = [load_vector(builder, address, register, j * lanes * 4) for j in range(2 * columns)]
        sums = []
        for row, place in zip(items(builder, args[0], tile_kind), items(builder, args[1], sig.args[1]), strict=True):
            groups = [pointer(builder, place, I32, builder.add(args[2], I64(i))) for i in range(2)]
            words = [splat(builder, builder.load(group, align=1), lanes) for group in groups]
            x = [builder.bitcast(word, register) for word in words]
            address = unknown(builder, address)
            w[held:] = [load_vector(builder, address, register, j * lanes * 4) for j in range(held, 2 * columns)]
            totals = _quad_dots(builder, items(builder, row, tile_kind.dtype), x, w)
            sums.append(pack(context, builder, tile_kind.dtype, totals))
        return pack(context, builder, tile_kind, sums)

    return tile(tile, rows, types.int64, types.int64), codegen


@intrinsic
def reorder_rows(typingctx: Any, rows: Any, index: Any, order: Any, copies: Any) -> Any:
    """reorder_rows(rows, index, order, copies): copy a register of each row, from byte `index` on, in another order.

    Byte i of each 16 of a copy is that of the same 16 of the row which byte i of these 16 at the address `order` names.
    """

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        order = load_vector(builder, args[2], _register(I8))
        pairs = zip(items(builder, args[0], sig.args[0]), items(builder, args[3], sig.args[3]), strict=True)
        for row, copy in pairs:
            value = load_vector(builder, row, _register(I8), args[1])
            store_vector(builder, _call(builder, _REORDER, I8, [value, order]), copy, args[1])
        return context.get_dummy_value()

    return types.void(rows, types.int64, types.int64, copies), codegen


@intrinsic
def copy_byte_of_rows(typingctx: Any, rows: Any, index: Any, copies: Any, place: Any) -> Any:
    """copy_byte_of_rows(rows, index, copies, place): byte `index` of each row becomes byte `place` of its copy."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        pairs = zip(items(builder, args[0], sig.args[0]), items(builder, args[2], sig.args[2]), strict=True)
        byte = ir.VectorType(I8, 1)
        for row, copy in pairs:
            store_vector(builder, load_vector(builder, row, byte, args[1]), copy, args[3])
        return context.get_dummy_value()

    return types.void(rows, types.int64, copies, types.int64), codegen

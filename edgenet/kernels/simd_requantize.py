"""From int32 sums to stored bytes with saturating arithmetic: the common epilogue of int8 kernels, by four vectors."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_bytes import store_first_bytes
from edgenet.kernels.simd_convert import emit_round_to_int
from edgenet.kernels.simd_types import (
    I8,
    I16,
    I32,
    I64,
    call_intrinsic,
    changed_where,
    items,
    join,
    shuffle_mask,
    splat,
    store_vector,
    target,
    vector_suffix,
)
from edgenet.kernels.table_int8 import rectifies


@intrinsic
def rectified_kernels(typingctx: Any) -> Any:
    """1 where `table_int8.rectifies`, else 0: a compile-time constant."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return I64(int(rectifies(target())))

    return types.int64(), codegen


def narrow_pair(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, element: ir.IntType) -> ir.Value:
    """Both vectors in elements of half the width, saturated (to stored bytes, or to int16).

    On x86 the elements stay within their 128-bit lanes: each lane holds a's, then b's.
    """
    result = ir.VectorType(element, 2 * a.type.count)
    if target().architecture == "aarch64":
        half = ir.VectorType(element, a.type.count)
        name = f"llvm.aarch64.neon.sqxtn.{vector_suffix(half)}"
        return join(builder, *(call_intrinsic(builder, name, half, [value]) for value in (a, b)))
    operation = "packssdw" if element is I16 else "packuswb" if target().stored_unsigned else "packsswb"
    bits = 32 * a.type.count if element is I16 else 16 * a.type.count
    name = {128: f"sse2.{operation}.128", 256: f"avx2.{operation}", 512: f"avx512.{operation}.512"}[bits]
    return call_intrinsic(builder, f"llvm.x86.{name}", result, [a, b])


def narrowed(builder: ir.IRBuilder, vectors: list[ir.Value], limits: list[ir.Value]) -> list[ir.Value]:
    """Stored bytes of an even number of int32 vectors, four in one: the zero point is added, then they are clamped.

    `limits`: zero point, least and greatest value as they lie in memory; what is 0, or no limit, costs nothing. On x86
    each 128-bit lane holds four bytes of every vector; `cut` puts them in order.
    """
    words = [narrow_pair(builder, vectors[i], vectors[i + 1], I16) for i in range(0, len(vectors), 2)]
    return narrowed_words(builder, words, limits)


def narrowed_words(builder: ir.IRBuilder, words: list[ir.Value], limits: list[ir.Value] | None) -> list[ir.Value]:
    """As `narrowed`, of vectors that were narrowed to int16 by pairs. `limits`: None if there are none but a byte's."""
    if limits is None:
        return _narrowed_to_bytes(builder, words)
    lanes = words[0].type.count // 2
    zero = splat(builder, builder.trunc(limits[0], I16), 2 * lanes)
    low, high = (splat(builder, builder.trunc(limit, I8), 4 * lanes) for limit in limits[1:])
    unsigned = target().stored_unsigned
    compare = builder.icmp_unsigned if unsigned else builder.icmp_signed

    def moved(word: ir.Value) -> ir.Value:
        return call_intrinsic(builder, f"llvm.sadd.sat.{vector_suffix(word.type)}", word.type, [word, zero])

    def clamped(value: ir.Value) -> ir.Value:
        value = builder.select(compare("<", value, low), low, value)
        return builder.select(compare(">", value, high), high, value)

    words = changed_where(builder, builder.icmp_signed("!=", limits[0], I64(0)), words, moved)
    least, most = (I64(0), I64(255)) if unsigned else (I64(-128), I64(127))
    limited = builder.or_(builder.icmp_signed(">", limits[1], least), builder.icmp_signed("<", limits[2], most))
    return changed_where(builder, limited, _narrowed_to_bytes(builder, words), clamped)


def _narrowed_to_bytes(builder: ir.IRBuilder, words: list[ir.Value]) -> list[ir.Value]:
    words = words + words[-1:] * (len(words) % 2)
    return [narrow_pair(builder, words[i], words[i + 1], I8) for i in range(0, len(words), 2)]


def cut(builder: ir.IRBuilder, value: ir.Value, first: int, count: int) -> ir.Value:
    """The bytes of `count` of the four vectors of a result of `narrowed`, from number `first` on, in order."""
    quarters = 1 if target().architecture == "aarch64" else value.type.count // 16
    if quarters == 1:
        lanes = value.type.count // 4
        return cut_lanes(builder, value, first * lanes, count * lanes)
    words = builder.bitcast(value, ir.VectorType(I32, value.type.count // 4))
    order = [4 * quarter + vector for vector in range(first, first + count) for quarter in range(quarters)]
    return builder.bitcast(builder.shuffle_vector(words, words, shuffle_mask(order)), ir.VectorType(I8, 4 * len(order)))


def cut_lanes(builder: ir.IRBuilder, value: ir.Value, first: int, count: int) -> ir.Value:
    """Lanes first..first+count-1 of a vector."""
    return builder.shuffle_vector(value, value, shuffle_mask(list(range(first, first + count))))


@intrinsic
def store_rounded(typingctx: Any, tile: Any, rows: Any, index: Any, bounds: Any, missing: Any, count: Any) -> Any:
    """Stores a float32 tile, rounded, plus the zero point, clamped, as bytes; row m of the tile at rows[m] + index.

    `bounds`: zero point, least and greatest value as they lie in memory. No value may reach 2**31. If `missing`, only
    the first `count` elements of a row are stored: all but some of its last vector.
    """
    columns = len(tile.dtype)
    per_group = 4 // columns

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        lanes = tile.dtype.dtype.lanes
        places = [builder.add(place, args[2]) for place in items(builder, args[1], sig.args[1])]
        partial = builder.icmp_signed("!=", args[4], I64(0))
        vectors = [
            emit_round_to_int(builder, [value])
            for row in items(builder, args[0], sig.args[0])
            for value in items(builder, row, sig.args[0].dtype)
        ]
        vectors += vectors[-1:] * (len(vectors) % 2)
        results = narrowed(builder, vectors, items(builder, args[3], sig.args[3]))
        with builder.if_else(partial) as (some, all_of_them):
            with some:
                left = builder.sub(args[5], I64((columns - 1) * lanes))
                for m, place in enumerate(places):
                    value, start = results[m // per_group], m % per_group * columns
                    for j in range(columns - 1):
                        store_vector(builder, cut(builder, value, start + j, 1), place, j * lanes)
                    last = cut(builder, value, start + columns - 1, 1)
                    store_first_bytes(builder, last, builder.add(place, I64((columns - 1) * lanes)), left)
            with all_of_them:
                for m, place in enumerate(places):
                    value, start = results[m // per_group], m % per_group * columns
                    store_vector(builder, cut(builder, value, start, columns), place)
        return context.get_dummy_value()

    return types.void(tile, rows, types.int64, bounds, types.int64, types.int64), codegen


@intrinsic
def store_interleaved(typingctx: Any, row: Any, address: Any, bounds: Any) -> Any:
    """store_interleaved(row, address, bounds): float32 vectors as by `store_rounded`, lane 0 of each, then lane 1, ...

    For rows of three or four vectors. No value may reach 2**31; what is less than -2**31 becomes the least value.
    """

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        vectors = [emit_round_to_int(builder, [value]) for value in items(builder, args[0], sig.args[0])]
        count, lanes = len(vectors), vectors[0].type.count
        vectors += vectors[-1:] * (count % 2)
        value = narrowed(builder, vectors, items(builder, args[2], sig.args[2]))[0]
        quarters = 1 if target().architecture == "aarch64" else target().bits // 128
        each = lanes // quarters
        places = [[4 * each * q + each * j + i for i in range(each) for j in range(count)] for q in range(quarters)]
        # Bytes move within quarters of the register first, then whole words between these.
        spare = [[4 * each * q] * (4 * each - len(place)) for q, place in enumerate(places)]
        order = [byte for place, rest in zip(places, spare, strict=True) for byte in place + rest]
        value = builder.shuffle_vector(value, value, shuffle_mask(order))
        words = builder.bitcast(value, ir.VectorType(I32, lanes))
        kept = [each * q + word for q in range(quarters) for word in range(count * each // 4)]
        store_vector(builder, builder.shuffle_vector(words, words, shuffle_mask(kept)), args[1])
        return context.get_dummy_value()

    return types.void(row, types.int64, bounds), codegen

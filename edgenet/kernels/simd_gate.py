"""int8 channels times factors, four vectors at a time.

No integer is converted: a byte between the two of 0x4700 and a zero byte is a float32, 2**15 more than the byte as an
unsigned number. It has 16 significant bits, a factor 8, so that their products are exact.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd import emit_fma
from edgenet.kernels.simd_convert import emit_round_to_int
from edgenet.kernels.simd_requantize import narrowed
from edgenet.kernels.simd_types import (
    F32,
    I8,
    I16,
    I64,
    f32v,
    interleave_halves,
    items,
    load_vector,
    pack,
    row_of,
    splat,
    store_vector,
    target,
)
from edgenet.kernels.table_memory import GATE_VECTORS

_BIAS = float(1 << 15)


@intrinsic
def gate_channels(typingctx: Any) -> Any:
    """Channels that a product takes at a time: bytes of a register; a compile-time constant."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return I64(GATE_VECTORS * target().lanes)

    return types.int64(), codegen


def _biased(builder: ir.IRBuilder, address: ir.Value) -> list[ir.Value]:
    """float32 vectors of 2**15 + the bytes at an address as unsigned numbers, in the order that `narrowed` restores."""
    stored = load_vector(builder, address, ir.VectorType(I8, GATE_VECTORS * target().lanes))
    kind = stored.type
    if not target().stored_unsigned:
        stored = builder.xor(stored, ir.Constant(kind, [-128] * kind.count))
    words = ir.VectorType(I16, kind.count // 2)
    exponent = ir.Constant(words, [0x4700] * words.count)
    pairs = interleave_halves(builder, ir.Constant(kind, [0] * kind.count), stored)
    vectors = [v for pair in pairs for v in interleave_halves(builder, builder.bitcast(pair, words), exponent)]
    return [builder.bitcast(value, f32v().llvm) for value in vectors]


def _bias(builder: ir.IRBuilder, zero: ir.Value) -> ir.Value:
    """What a zero point, as it lies in memory, is among the numbers of `_biased`, as a vector."""
    bias = ir.Constant(F32, _BIAS if target().stored_unsigned else _BIAS + 128)
    return splat(builder, builder.fadd(builder.sitofp(zero, F32), bias), target().lanes)


@intrinsic
def load_factors(typingctx: Any, address: Any, zero_x: Any, zero_factor: Any) -> Any:
    """load_factors(address, zero_x, zero_factor): what `gate_pixel` needs of the factors of channels."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        zero_x, zero_factor = _bias(builder, args[1]), _bias(builder, args[2])
        factors = [builder.fsub(value, zero_factor) for value in _biased(builder, args[0])]
        offsets = [builder.fneg(builder.fmul(factor, zero_x)) for factor in factors]
        return pack(context, builder, sig.return_type, factors + offsets)

    return row_of(f32v(), 2 * GATE_VECTORS)(types.int64, types.int64, types.int64), codegen


@intrinsic
def gate_pixel(typingctx: Any, x: Any, y: Any, factors: Any, multiplier: Any, bounds: Any) -> Any:
    """Stores at y what the bytes at x, less the zero point, times the factors are, requantized.

    factors: of `load_factors`. bounds: zero point, least and greatest value as they lie in memory. No product of all
    three may reach 2**31.
    """

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        given = items(builder, args[2], sig.args[2])
        scale = splat(builder, args[3], target().lanes)
        vectors = []
        for value, factor, offset in zip(
            _biased(builder, args[0]), given[:GATE_VECTORS], given[GATE_VECTORS:], strict=True
        ):
            product = emit_fma(builder, [value, factor, offset])
            vectors.append(emit_round_to_int(builder, [builder.fmul(product, scale)]))
        store_vector(builder, narrowed(builder, vectors, items(builder, args[4], sig.args[4]))[0], args[1])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, factors, types.float32, bounds), codegen

"""Conversions between float32 and int32 vectors, integer arithmetic on lanes, choices, and sums over lanes."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd import elementwise
from edgenet.kernels.simd_masked import lane_mask
from edgenet.kernels.simd_types import F32, F64, I32, call_intrinsic, shuffle_mask, splat, target, vector_suffix


def _vector(element: ir.Type, like: ir.Value) -> ir.VectorType:
    return ir.VectorType(element, like.type.count)


def emit_round_to_int(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
    """int32 of the one float32 vector in `v`, rounded half to even."""
    kind, bits = _vector(I32, v[0]), v[0].type.count * 32
    if target().architecture == "aarch64":
        suffix = vector_suffix(v[0].type)
        return call_intrinsic(builder, f"llvm.aarch64.neon.fcvtns.v{kind.count}i32.{suffix}", kind, [v[0]])
    if bits == 512:
        mask, nearest = ir.Constant(ir.IntType(16), -1), I32(8)
        arguments = [v[0], ir.Constant(kind, [0] * kind.count), mask, nearest]
        return call_intrinsic(builder, "llvm.x86.avx512.mask.cvtps2dq.512", kind, arguments)
    name = {128: "llvm.x86.sse2.cvtps2dq", 256: "llvm.x86.avx.cvt.ps2dq.256"}[bits]
    return call_intrinsic(builder, name, kind, [v[0]])


round_to_int = elementwise("round_to_int", 1, emit_round_to_int, "i32")
"""float32 to int32, half to even. Undefined lanes for values that int32 does not hold."""
to_float = elementwise("to_float", 1, lambda builder, v: builder.sitofp(v[0], _vector(F32, v[0])), "f32")
"""int32 to float32, half to even."""
to_double = elementwise("to_double", 1, lambda builder, v: builder.fpext(v[0], _vector(F64, v[0])), "f64")
"""float32 to float64, exactly."""
to_single = elementwise("to_single", 1, lambda builder, v: builder.fptrunc(v[0], _vector(F32, v[0])), "f32")
"""float64 to float32, half to even."""
as_float = elementwise("as_float", 1, lambda builder, v: builder.bitcast(v[0], _vector(F32, v[0])), "f32")
"""The float32 with these bits."""
as_int = elementwise("as_int", 1, lambda builder, v: builder.bitcast(v[0], _vector(I32, v[0])), "i32")
"""The bits of a float32."""
int_add = elementwise("int_add", 2, lambda builder, v: builder.add(v[0], v[1]))
int_subtract = elementwise("int_subtract", 2, lambda builder, v: builder.sub(v[0], v[1]))
int_multiply = elementwise("int_multiply", 2, lambda builder, v: builder.mul(v[0], v[1]))
int_and = elementwise("int_and", 2, lambda builder, v: builder.and_(v[0], v[1]))
int_or = elementwise("int_or", 2, lambda builder, v: builder.or_(v[0], v[1]))
shift_left = elementwise("shift_left", 2, lambda builder, v: builder.shl(v[0], v[1]))
shift_right = elementwise("shift_right", 2, lambda builder, v: builder.ashr(v[0], v[1]))
"""Arithmetic shift: the sign is kept."""


def _power_of_two(builder: ir.IRBuilder, n: ir.Value) -> ir.Value:
    """2.0 ** n for -127 < n < 128; infinity for 128."""
    bits = builder.shl(
        builder.add(n, ir.Constant(n.type, [127] * n.type.count)), ir.Constant(n.type, [23] * n.type.count)
    )
    return builder.bitcast(bits, _vector(F32, n))


def _scale_by_normal(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
    value, n = v
    if target().bits == 512:
        whole = builder.sitofp(n, value.type)
        arguments = [value, whole, value, ir.Constant(ir.IntType(16), -1), I32(4)]
        return call_intrinsic(builder, "llvm.x86.avx512.mask.scalef.ps.512", value.type, arguments)
    return builder.fmul(value, _power_of_two(builder, n))


def _scale(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
    value, n = v
    if target().bits == 512:
        return _scale_by_normal(builder, v)
    half = builder.ashr(n, ir.Constant(n.type, [1] * n.type.count))
    value = builder.fmul(value, _power_of_two(builder, half))
    return builder.fmul(value, _power_of_two(builder, builder.sub(n, half)))


scale_by_power = elementwise("scale_by_power", 2, _scale)
"""scale_by_power(x, n): x * 2.0 ** n for int32 n from -252 to 254."""
scale_by_normal_power = elementwise("scale_by_normal_power", 2, _scale_by_normal)
"""scale_by_normal_power(x, n): x * 2.0 ** n for int32 n from -126 to 127; infinite for 128."""
power_of_two = elementwise("power_of_two", 1, lambda builder, v: _power_of_two(builder, v[0]), "f32")
"""2.0 ** n for int32 n from -126 to 127."""


def _where(comparison: str) -> Any:
    def emit(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
        return builder.select(builder.fcmp_ordered(comparison, v[0], v[1]), v[2], v[3])

    return emit


where_less = elementwise("where_less", 4, _where("<"))
"""where_less(a, b, x, y): x where a < b, else y (also where a or b is NaN)."""


def _or_zero(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
    zero = ir.Constant(v[0].type, [0.0] * v[0].type.count)
    return builder.select(builder.fcmp_ordered("ord", v[0], v[0]), v[0], zero)


or_zero = elementwise("or_zero", 1, _or_zero)
"""x, or 0 where x is NaN."""


def _bytes_extreme(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
    compare = builder.icmp_unsigned if target().stored_unsigned else builder.icmp_signed
    return builder.select(compare(">", v[0], v[1]), v[0], v[1])


maximum_bytes = elementwise("maximum_bytes", 2, _bytes_extreme)
"""The greater of two vectors of bytes, in the order of the int8 values they stand for."""


def _maximum_nan(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
    greater = builder.select(builder.fcmp_ordered(">", v[0], v[1]), v[0], v[1])
    return builder.select(builder.fcmp_unordered("uno", v[0], v[0]), v[0], greater)


maximum_or_nan = elementwise("maximum_or_nan", 2, _maximum_nan)
"""The greater of two; NaN if one is NaN."""


@intrinsic
def first_lanes(typingctx: Any, vector: Any, count: Any, other: Any) -> Any:
    """first_lanes(vector, count, other): the first `count` lanes of a float32 vector, `other` in the rest."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        lanes = args[0].type.count
        return builder.select(lane_mask(builder, args[1], lanes), args[0], splat(builder, args[2], lanes))

    return vector(vector, types.int64, types.float32), codegen


def _reduction(name: str, combine: Any) -> Any:
    def reduce(typingctx: Any, vector: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
            value, lanes = args[0], sig.args[0].lanes
            while lanes > 1:
                lanes //= 2
                low = builder.shuffle_vector(value, value, shuffle_mask(list(range(lanes))))
                high = builder.shuffle_vector(value, value, shuffle_mask(list(range(lanes, 2 * lanes))))
                value = combine(builder, [low, high])
            return builder.extract_element(value, I32(0))

        scalar = types.float32 if vector.element == "f32" else types.int32
        return scalar(vector), codegen

    reduce.__name__, reduce.__doc__ = name, f"{name}(vector): over the lanes, by halves."
    return intrinsic(reduce)


sum_lanes = _reduction("sum_lanes", lambda builder, v: builder.fadd(v[0], v[1]))
sum_int_lanes = _reduction("sum_int_lanes", lambda builder, v: builder.add(v[0], v[1]))
greatest_lane = _reduction("greatest_lane", _maximum_nan)

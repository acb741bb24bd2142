"""Vector operations of depthwise convolutions: one kernel row over the columns of an output tile."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd import emit_fma
from edgenet.kernels.simd_masked import lane_mask, masked_load
from edgenet.kernels.simd_types import F32, constant_int, f32v, items, keep_together, load_vector, pack, pointer, target

_COLUMNS_TOGETHER = 2
"""Columns whose vectors are loaded ahead, at most, where registers are few."""


def _row(load: Any, sums: list[ir.Value], weights: list[ir.Value], columns: int, step: int, builder: Any) -> None:
    in_order = target().registers == 16  # LLVM would load all columns first, and copy them to the stack
    for column in range(columns):
        x = None
        for tap, weight in enumerate(weights):
            output, remainder = divmod(column - tap, step)
            if remainder == 0 and 0 <= output < len(sums):
                if x is None:
                    if in_order and column % _COLUMNS_TOGETHER == 1:
                        sums[:] = keep_together(builder, sums, in_memory=True)
                    x = load(column)
                sums[output] = emit_fma(builder, [x, weight, sums[output]])


@intrinsic(prefer_literal=True)
def convolve_row_f32(typingctx: Any, sums: Any, places: Any, weights: Any, step: Any) -> Any:
    """convolve_row_f32(sums, places, weights, step): sums[t] += vector at places[t * step + k] * weights[k], all k."""
    stride = constant_int(step)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        values = items(builder, args[0], sig.args[0])
        addresses = items(builder, args[1], sig.args[1])
        taps = items(builder, args[2], sig.args[2])
        vector = f32v().llvm
        _row(lambda c: load_vector(builder, addresses[c], vector), values, taps, len(addresses), stride, builder)
        return pack(context, builder, sig.return_type, values)

    return sums(sums, places, weights, step), codegen


@intrinsic(prefer_literal=True)
def convolve_rows_f32(
    typingctx: Any, upper: Any, lower: Any, places: Any, taps: Any, other_taps: Any, step: Any
) -> Any:
    """convolve_rows_f32(upper, lower, places, taps, other_taps, step): convolve_row_f32 of both, loading vectors once.

    Returns (upper, lower).
    """
    stride = constant_int(step)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        rows = [items(builder, args[i], sig.args[i]) for i in (0, 1)]
        addresses = items(builder, args[2], sig.args[2])
        filters = [items(builder, args[i], sig.args[i]) for i in (3, 4)]
        vector = f32v().llvm
        for column, address in enumerate(addresses):
            x = load_vector(builder, address, vector)
            for sums, weights in zip(rows, filters, strict=True):
                for tap, weight in enumerate(weights):
                    output, remainder = divmod(column - tap, stride)
                    if remainder == 0 and 0 <= output < len(sums):
                        sums[output] = emit_fma(builder, [x, weight, sums[output]])
        packed = [pack(context, builder, sig.args[i], rows[i]) for i in (0, 1)]
        return context.make_tuple(builder, sig.return_type, packed)

    return types.Tuple((upper, lower))(upper, lower, places, taps, other_taps, step), codegen


@intrinsic(prefer_literal=True)
def convolve_row_partial_f32(typingctx: Any, sums: Any, places: Any, weights: Any, step: Any, count: Any) -> Any:
    """As convolve_row_f32 with only the first `count` lanes read from memory."""
    stride = constant_int(step)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        values = items(builder, args[0], sig.args[0])
        addresses = items(builder, args[1], sig.args[1])
        taps = items(builder, args[2], sig.args[2])
        vector = f32v().llvm
        mask = lane_mask(builder, args[4], vector.count)

        def load(column: int) -> ir.Value:
            return masked_load(builder, pointer(builder, addresses[column], F32), vector, mask)

        _row(load, values, taps, len(addresses), stride, builder)
        return pack(context, builder, sig.return_type, values)

    return sums(sums, places, weights, step, count), codegen

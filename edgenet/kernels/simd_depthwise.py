"""Vector operations of depthwise convolutions: one kernel row over the columns of an output tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd import emit_fma
from edgenet.kernels.simd_masked import lane_mask, masked_load
from edgenet.kernels.simd_types import F32, constant_int, f32v, items, keep_together, load_vector, pack, pointer, target

_COLUMNS_TOGETHER = 2
"""Columns whose vectors are loaded ahead for one row of sums, at most, where registers are few; for several rows, 1."""


def _add_products(
    builder: ir.IRBuilder,
    sums: list[list[ir.Value]],
    load: Callable[[int], ir.Value],
    weight: Callable[[int, int], ir.Value],
    columns: int,
    step: int,
    together: int,
) -> None:
    """sums[row][t] += load(t * step + tap) * weight(row, tap), for all taps."""
    count = len(sums[0])
    in_order = target().registers == 16  # LLVM would load all columns first, and copy them to the stack
    for column in range(columns):
        if in_order and column > 0 and column % together == together - 1:
            kept = keep_together(builder, [value for row in sums for value in row], in_memory=True)
            for row, values in enumerate(sums):
                values[:] = kept[row * count : (row + 1) * count]
        x = load(column)
        for row, values in enumerate(sums):
            for tap in range(columns - (count - 1) * step):
                output, remainder = divmod(column - tap, step)
                if remainder == 0 and 0 <= output < count:
                    values[output] = emit_fma(builder, [x, weight(row, tap), values[output]])


def _add_row(builder: Any, sums: list[ir.Value], load: Any, taps: list[ir.Value], columns: int, step: int) -> None:
    _add_products(builder, [sums], load, lambda _, tap: taps[tap], columns, step, _COLUMNS_TOGETHER)


@intrinsic(prefer_literal=True)
def convolve_row_f32(typingctx: Any, sums: Any, places: Any, weights: Any, step: Any) -> Any:
    """convolve_row_f32(sums, places, weights, step): sums[t] += vector at places[t * step + k] * weights[k], all k."""
    stride = constant_int(step)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        values = items(builder, args[0], sig.args[0])
        addresses = items(builder, args[1], sig.args[1])
        taps = items(builder, args[2], sig.args[2])
        vector = f32v().llvm
        _add_row(builder, values, lambda c: load_vector(builder, addresses[c], vector), taps, len(addresses), stride)
        return pack(context, builder, sig.return_type, values)

    return sums(sums, places, weights, step), codegen


@intrinsic(prefer_literal=True)
def convolve_rows_f32(typingctx: Any, rows: Any, places: Any, filters: Any, step: Any) -> Any:
    """convolve_rows_f32(rows, places, filters, step): convolve_row_f32 of several rows of sums, loading vectors once.

    A filter is a row of weights, or the address from which they are loaded one by one, which takes no registers.
    Returns the rows.
    """
    stride = constant_int(step)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        given, kinds = items(builder, args[0], sig.args[0]), sig.args[0].types
        sums = [items(builder, row, kind) for row, kind in zip(given, kinds, strict=True)]
        filters = list(zip(items(builder, args[2], sig.args[2]), sig.args[2].types, strict=True))
        addresses = items(builder, args[1], sig.args[1])
        vector = f32v().llvm

        def load(column: int) -> ir.Value:
            return load_vector(builder, addresses[column], vector)

        def weight(row: int, tap: int) -> ir.Value:
            value, kind = filters[row]
            if isinstance(kind, types.BaseTuple):
                return builder.extract_value(value, tap)
            return load_vector(builder, value, vector, tap * vector.count)

        _add_products(builder, sums, load, weight, len(addresses), stride, 1)
        packed = [pack(context, builder, kind, values) for kind, values in zip(kinds, sums, strict=True)]
        return pack(context, builder, sig.return_type, packed)

    return rows(rows, places, filters, step), codegen


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

        _add_row(builder, values, load, taps, len(addresses), stride)
        return pack(context, builder, sig.return_type, values)

    return sums(sums, places, weights, step, count), codegen

"""Vector operations of int8 depthwise convolutions: input rows interleaved for the product instruction, taps summed.

A lane is a channel. A group (see `simd_int8`) holds the values that a channel has in two or four rows of the input, so
that one product instruction does as many vertical taps.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_int8 import dot, group_vector
from edgenet.kernels.simd_types import (
    I8,
    I16,
    I32,
    constant_int,
    items,
    join,
    load_vector,
    pack,
    row_of,
    shuffle_mask,
    store_vector,
    target,
)


def _interleave(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    count = a.type.count
    return builder.shuffle_vector(a, b, shuffle_mask([lane + count * side for lane in range(count) for side in (0, 1)]))


def _quads(builder: ir.IRBuilder, rows: list[ir.Value]) -> ir.Value:
    """Bytes of four rows of lanes as a vector of groups: four of a lane side by side, or twice two."""
    lanes = rows[0].type.count
    if lanes != 16:
        pairs = [_interleave(builder, rows[i], rows[i + 1]) for i in (0, 2)]
        if target().dot == "smull":
            return join(builder, *pairs)
        words = [builder.bitcast(pair, ir.VectorType(I16, lanes)) for pair in pairs]
        return _interleave(builder, *words)
    # Transposition of 4 x 4 words over the quarters of the register, then of 4 x 4 bytes within each.
    joined = join(builder, join(builder, *rows[:2]), join(builder, *rows[2:]))
    words = builder.bitcast(joined, ir.VectorType(I32, 16))
    words = builder.shuffle_vector(words, words, shuffle_mask([4 * (i % 4) + i // 4 for i in range(16)]))
    quarters = builder.bitcast(words, joined.type)
    mask = [16 * (i // 16) + 4 * (i % 4) + i % 16 // 4 for i in range(64)]
    return builder.shuffle_vector(quarters, quarters, shuffle_mask(mask))


def filled_up(rows: list[ir.Value], size: int) -> list[ir.Value]:
    """Rows in whole groups of `size`: the last one again for those that are missing, whose weights are zero."""
    return rows + rows[-1:] * (-len(rows) % size)


@intrinsic(prefer_literal=True)
def interleave_rows(typingctx: Any, places: Any, destination: Any, group: Any) -> Any:
    """interleave_rows(places, destination, group): one vector of groups for each `group` rows, stored one by one.

    `places` are addresses of a lane's worth of bytes in each row; the last row stands for those that are missing from
    the last group.
    """
    size = constant_int(group)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        lanes = target().lanes
        kind = ir.VectorType(I8, lanes)
        rows = filled_up([load_vector(builder, place, kind) for place in items(builder, args[0], sig.args[0])], size)
        for number, first in enumerate(range(0, len(rows), size)):
            if size == 4:
                value = _quads(builder, rows[first : first + 4])
            else:
                value = _interleave(builder, *rows[first : first + 2])
                wide = ir.VectorType(I16, value.type.count)
                value = builder.zext(value, wide) if target().stored_unsigned else builder.sext(value, wide)
            value = builder.bitcast(value, group_vector().llvm)
            store_vector(builder, value, args[1], number * lanes)
        return context.get_dummy_value()

    return types.void(places, types.int64, group), codegen


@intrinsic(prefer_literal=True)
def depthwise_dot(
    typingctx: Any,
    sums: Any,
    x: Any,
    w: Any,
    columns: Any,
    rows: Any,
    high: Any,
    wide: Any,
    down: Any,
    along: Any,
    n: Any,
) -> Any:
    """sums[r * columns + c] += the taps of output row r, output column c; x holds the interleaved input columns.

    Constants: output `columns` and `rows`, kernel height and width `high` and `wide`, strides `down` and `along`, `n`
    rows of a group. Weights w are packed [output row][groups of rows][kernel column]; those without a tap of the
    output row are there, and left out here.
    """
    size, count, band = constant_int(n), constant_int(columns), constant_int(rows)
    height, width, step_y, step_x = (constant_int(value) for value in (high, wide, down, along))
    groups = -(-((band - 1) * step_y + height) // size)

    def used(r: int, g: int) -> bool:
        return g * size < r * step_y + height and (g + 1) * size > r * step_y

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        vector = group_vector().llvm
        lanes = vector.count
        totals = items(builder, args[0], sig.args[0])
        filters = {
            (r, g, k): load_vector(builder, args[2], vector, ((r * groups + g) * width + k) * lanes)
            for r in range(band)
            for g in range(groups)
            for k in range(width)
            if used(r, g)
        }
        for column in range((count - 1) * step_x + width):
            for g in range(groups):
                value = load_vector(builder, args[1], vector, (column * groups + g) * lanes)
                for k in range(width):
                    output, remainder = divmod(column - k, step_x)
                    if remainder or not 0 <= output < count:
                        continue
                    for r in range(band):
                        if used(r, g):
                            place = r * count + output
                            totals[place] = dot(builder, totals[place], value, filters[r, g, k])
        return pack(context, builder, sig.return_type, totals)

    return sums(sums, types.int64, types.int64, columns, rows, high, wide, down, along, n), codegen


@intrinsic
def places_dot(typingctx: Any, sums: Any, places: Any, weights: Any) -> Any:
    """places_dot(sums, places, weights): sums[c] += vector of groups at places[c] times the one at `weights`."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        vector = group_vector().llvm
        w = load_vector(builder, args[2], vector)
        totals = items(builder, args[0], sig.args[0])
        places = items(builder, args[1], sig.args[1])
        for i, place in enumerate(places):
            totals[i] = dot(builder, totals[i], load_vector(builder, place, vector), w)
        return pack(context, builder, sig.return_type, totals)

    return sums(sums, places, types.int64), codegen


@intrinsic(prefer_literal=True)
def part(typingctx: Any, values: Any, first: Any, count: Any) -> Any:
    """part(values, first, count): entries first .. first + count - 1 of a tuple."""
    start, size = constant_int(first), constant_int(count)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return pack(context, builder, sig.return_type, items(builder, args[0], sig.args[0])[start : start + size])

    return row_of(values.dtype, size)(values, first, count), codegen

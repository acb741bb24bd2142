"""Vector operations of the wide depthwise kernels, on blocks of as many vectors of channels as widening makes.

Bytes are interleaved within each 128-bit lane of the registers, which saves shuffles: lane q of a block's vector k
holds the channels from 4 * (vectors * q + k) on. The saturating packs of the epilogue put them into order again.
Where whole registers of bytes become pairs of int16, words of two bytes are interleaved before they are widened, which
takes fewer instructions. Lane q of vector k then holds every second of eight channels, the first of which is
16 * q + 8 * (k // 2) + k % 2 (`table_int8.block_order` has them all).
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd import emit_clamp, emit_fma
from edgenet.kernels.simd_convert import emit_round_to_int
from edgenet.kernels.simd_depthwise_int8 import filled_up
from edgenet.kernels.simd_int8 import dot, group_vector
from edgenet.kernels.simd_requantize import cut_lanes, narrow_pair, narrowed_words
from edgenet.kernels.simd_types import (
    F32,
    I8,
    I16,
    I32,
    I64,
    constant_int,
    interleave_halves,
    items,
    join,
    keep_together,
    load_vector,
    shuffle_mask,
    splat,
    store_vector,
    target,
    unknown,
)
from edgenet.kernels.table_int8 import HARDSWISH, RECTIFIED, block_order, groups_columns, splits_words


def _block(builder: ir.IRBuilder, rows: list[ir.Value], vectors: int) -> list[ir.Value]:
    """So many vectors of groups from the bytes of two or four rows."""
    if splits_words(target(), vectors):
        words = ir.VectorType(I16, rows[0].type.count // 2)
        low, eight = (ir.Constant(words, [number] * words.count) for number in (255, 8))
        pairs = interleave_halves(builder, *(builder.bitcast(row, words) for row in rows))
        return [half for pair in pairs for half in (builder.and_(pair, low), builder.lshr(pair, eight))]
    if len(rows) == 2:
        wide = ir.VectorType(I16, rows[0].type.count)
        extend = builder.zext if target().stored_unsigned else builder.sext
        return interleave_halves(builder, *(extend(row, wide) for row in rows))
    element = I64 if target().dot == "smull" else I16
    words = ir.VectorType(element, rows[0].type.count * 8 // element.width)
    pairs = [interleave_halves(builder, rows[i], rows[i + 1]) for i in (0, 2)]
    quads = ([builder.bitcast(half, words) for half in halves] for halves in zip(*pairs, strict=True))
    return [vector for low, high in quads for vector in interleave_halves(builder, low, high)]


def _load_rows(builder: ir.IRBuilder, places: list[ir.Value], vectors: int, together: int) -> list[ir.Value]:
    """The bytes of a block of channels at each place; of two rows `together`, joined with those of the second."""
    kind = ir.VectorType(I8, vectors * target().lanes // together)
    rows = [load_vector(builder, place, kind) for place in places]
    if together == 1:
        return rows
    count = len(rows) // together
    return [join(builder, rows[i], rows[count + i]) for i in range(count)]


@intrinsic(prefer_literal=True)
def interleave_block(typingctx: Any, places: Any, destination: Any, vectors: Any) -> Any:
    """interleave_block(places, destination, vectors): a block's vectors of groups, of a row at each place, in turn."""
    size = constant_int(vectors)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        lanes, vector = target().lanes, group_vector().llvm
        rows = _load_rows(builder, items(builder, args[0], sig.args[0]), size, 1)
        for number, value in enumerate(_block(builder, rows, size)):
            store_vector(builder, builder.bitcast(value, vector), args[1], number * lanes)
        return context.get_dummy_value()

    return types.void(places, types.int64, vectors), codegen


class Head:
    """What a block's weights begin with: [bias][multiplier] of its vectors, and what RECTIFIED adds, minus 2**23 times
    the multiplier (see `prepare.lower_int8_matrix.is_rectified`).
    """

    def __init__(self, builder: ir.IRBuilder, address: ir.Value, vectors: int, activation: int):
        self._builder, self._address, self._vectors, self._activation = builder, address, vectors, activation

    def _part(self, number: int, k: int, element: ir.Type) -> ir.Value:
        lanes = target().lanes
        vector = ir.VectorType(element, lanes)
        return load_vector(self._builder, self._address, vector, (number * self._vectors + k) * lanes)

    def bias(self, k: int) -> ir.Value:
        """Of the channels of vector k: where sums begin."""
        return self._part(0, k, I32)

    def requantized(self, k: int, sums: list[ir.Value], output_multiplier: ir.Value) -> list[ir.Value]:
        """int32 of sums of vector k, computed as in `edgenet.kernels.epilogue_int8`: scaled, activated, rounded."""
        builder, scale = self._builder, self._part(1, k, F32)
        if self._activation == RECTIFIED:
            values = [[builder.bitcast(total, scale.type), scale, self._part(2, k, F32)] for total in sums]
            return [emit_round_to_int(builder, [emit_fma(builder, value)]) for value in values]
        return [_requantized(builder, total, scale, output_multiplier, self._activation) for total in sums]


def _requantized(
    builder: ir.IRBuilder, total: ir.Value, scale: ir.Value, output_multiplier: ir.Value, activation: int
) -> ir.Value:
    value = builder.fmul(builder.sitofp(total, scale.type), scale)
    if activation == HARDSWISH:
        three, zero, six = (ir.Constant(scale.type, [number] * scale.type.count) for number in (3.0, 0.0, 6.0))
        gate = emit_clamp(builder, [builder.fadd(value, three), zero, six])
        value = builder.fmul(builder.fmul(value, gate), splat(builder, output_multiplier, scale.type.count))
    return emit_round_to_int(builder, [value])


def _store_pixels(
    builder: ir.IRBuilder,
    pixels: list[list[ir.Value]],
    y: ir.Value,
    stride: ir.Value,
    limits: list[ir.Value] | None,
    apart: ir.Value | None = None,
) -> None:
    """Stores the bytes of each pixel's vectors of int16, from the address y on, `stride` bytes apart.

    `limits`: see `narrowed_words`. `apart`: of half blocks, the bytes from a pixel to the one of the second half.
    """
    lanes = target().lanes
    places = [builder.add(y, builder.mul(stride, I64(c))) for c in range(len(pixels))]
    vectors = 2 * len(pixels[0])
    channels = block_order(target(), vectors)
    packed = [channels[k][lane + j] for lane in range(0, lanes, 4) for k in range(vectors) for j in range(4)]
    in_order = shuffle_mask([packed.index(channel) for channel in range(len(packed))])
    for i, value in enumerate(narrowed_words(builder, [word for pixel in pixels for word in pixel], limits)):
        if apart is not None:
            half = value.type.count // 2
            for side, place in enumerate((places[i], builder.add(places[i], apart))):
                store_vector(builder, cut_lanes(builder, value, side * half, half), place)
            continue
        if vectors == 4:
            store_vector(builder, builder.shuffle_vector(value, value, in_order), places[i])
            continue
        if target().architecture != "aarch64" and target().bits > 128:
            halves = builder.bitcast(value, ir.VectorType(I64, value.type.count // 8))
            order = [*range(0, halves.type.count, 2), *range(1, halves.type.count, 2)]
            value = builder.bitcast(builder.shuffle_vector(halves, halves, shuffle_mask(order)), value.type)
        for side in (0, 1):
            if 2 * i + side < len(pixels):
                store_vector(builder, cut_lanes(builder, value, side * 2 * lanes, 2 * lanes), places[2 * i + side])


@intrinsic(prefer_literal=True)
def depthwise_pixels(
    typingctx: Any, planes: Any, head: Any, taps: Any, y: Any, stride: Any, bounds: Any, output_multiplier: Any,
    columns: Any, wide: Any, along: Any, vectors: Any, activation: Any,
) -> Any:  # fmt: skip
    """Computes and stores `columns` adjacent output pixels of one block of channels.

    planes: addresses of interleaved columns, one for each group of rows; head: where the block's `Head` lies; taps: its
    weights [vector][groups of rows][kernel column]; y: address of the first pixel, the next `stride` bytes on;
    bounds: zero point, least and greatest value as they lie in memory. Constants: kernel width `wide`, horizontal
    stride `along`, `vectors` of a block, `activation` (`table_int8.ACTIVATIONS`), which may use `output_multiplier`.
    """
    count, width, step, size = (constant_int(value) for value in (columns, wide, along, vectors))
    row_groups = len(planes)
    through = constant_int(activation)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        vector, lanes = group_vector().llvm, target().lanes
        ends = Head(builder, args[1], size, through)
        sources = items(builder, args[0], sig.args[0])
        words: list[list[ir.Value]] = []
        even: list[ir.Value] = []
        for k in range(size):
            bias = ends.bias(k)
            filters = [
                [
                    load_vector(builder, args[2], vector, ((k * row_groups + g) * width + t) * lanes)
                    for t in range(width)
                ]
                for g in range(row_groups)
            ]
            totals = [bias] * count
            for column in range((count - 1) * step + width):
                for g in range(row_groups):
                    value = load_vector(builder, sources[g], vector, (column * size + k) * lanes)
                    for t in range(width):
                        output, remainder = divmod(column - t, step)
                        if remainder == 0 and 0 <= output < count:
                            totals[output] = dot(builder, totals[output], value, filters[g][t])
            values = ends.requantized(k, totals, args[6])
            if k % 2:
                values = [narrow_pair(builder, *pair, I16) for pair in zip(even, values, strict=True)]
            if through == RECTIFIED and target().registers == 16:  # sums of the next vector need the registers
                values = keep_together(builder, values)
            if k % 2:
                words.append(values)
            even = values
        limits = None if through == RECTIFIED else items(builder, args[5], sig.args[5])
        _store_pixels(builder, [list(pixel) for pixel in zip(*words, strict=True)], args[3], args[4], limits)
        return context.get_dummy_value()

    given = [planes, *[types.int64] * 4, bounds, types.float32]
    return types.void(*given, columns, wide, along, vectors, activation), codegen


@intrinsic(prefer_literal=True)
def depthwise_strided(
    typingctx: Any, bases: Any, steps: Any, window: Any, head: Any, taps: Any, y: Any, stride: Any, apart: Any,
    bounds: Any, output_multiplier: Any, columns: Any, wide: Any, along: Any, group: Any, vectors: Any, activation: Any,
    together: Any, clipped: Any,
) -> Any:  # fmt: skip
    """As `depthwise_pixels`, from input that is not interleaved yet: each column serves its outputs and is gone.

    bases, steps: address of column 0 of each kernel row, bytes to the next column; window: number of the first column,
    columns of the input, address of what a column outside holds. If `clipped`, columns may lie outside, at either end
    as many as half the kernel is wide. Of half blocks (two `together`) the rows of the second half follow, and it is
    stored `apart` bytes on. A row that is left over is multiplied by groups of its columns where
    `table_int8.groups_columns` says so.
    """
    count, width, step, size, clip = (constant_int(value) for value in (columns, wide, along, group, clipped))
    high, through, halves = (constant_int(value) for value in (vectors, activation, together))
    height = len(bases) // halves

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        vector, lanes = group_vector().llvm, target().lanes
        ends = Head(builder, args[3], high, through)
        rows = list(zip(*(items(builder, args[i], sig.args[i]) for i in (0, 1)), strict=True))
        first, columns_in, outside = items(builder, args[2], sig.args[2])
        groups = -(-height // size)
        by_columns = groups_columns(size, height, step)
        lone: list[ir.Value] = []
        limits = None if through == RECTIFIED else items(builder, args[8], sig.args[8])
        totals = [[ends.bias(k)] * count for k in range(high)]
        following = [builder.add(base, builder.mul(first, along_row)) for base, along_row in rows]
        last_column = (count - 1) * step + width - 1
        taps = [args[4]] * count
        if target().registers == 16:  # taps that several outputs use would be copied to the stack
            taps = [unknown(builder, args[4]) for _ in range(count)]
        for column in range(last_column + 1):
            places = following
            following = [builder.add(place, along_row) for place, (_, along_row) in zip(places, rows, strict=True)]
            if clip and column % 2:  # LLVM would compute all addresses first
                following = [unknown(builder, place) for place in following]
            if clip and (column < width // 2 or column > last_column - width // 2):
                exists = builder.icmp_unsigned("<", builder.add(first, I64(column)), columns_in)
                places = [builder.select(exists, place, outside) for place in places]
            values = _load_rows(builder, places, high, halves)
            if by_columns:
                lone.append(values.pop())
            values = filled_up(values, size)
            for g in range(len(values) // size):
                for k, part in enumerate(_block(builder, values[g * size : (g + 1) * size], high)):
                    value = builder.bitcast(part, vector)
                    for t in range(width):
                        output, remainder = divmod(column - t, step)
                        if remainder == 0 and 0 <= output < count:
                            weight = load_vector(builder, taps[output], vector, ((k * groups + g) * width + t) * lanes)
                            totals[k][output] = dot(builder, totals[k][output], value, weight)
            for begin in range(column - size + 1, (column if column == last_column else column - size + 1) + 1):
                if not lone or begin < 0 or begin % step:
                    continue
                for k, part in enumerate(_block(builder, filled_up(lone[begin : begin + size], size), high)):
                    value = builder.bitcast(part, vector)
                    for t in range(-(-width // size)):
                        output, remainder = divmod(begin - t * size, step)
                        if remainder == 0 and 0 <= output < count:
                            place = (k * groups + groups - 1) * width + t
                            weight = load_vector(builder, taps[output], vector, place * lanes)
                            totals[k][output] = dot(builder, totals[k][output], value, weight)
        values = [ends.requantized(k, totals[k], args[9]) for k in range(high)]
        pairs = [zip(values[k], values[k + 1], strict=True) for k in range(0, high, 2)]
        pixels = [[narrow_pair(builder, *pair, I16) for pair in pixel] for pixel in zip(*pairs, strict=True)]
        _store_pixels(builder, pixels, args[5], args[6], limits, args[7] if halves == 2 else None)
        return context.get_dummy_value()

    given = [*[types.int64] * 5, bounds, types.float32]
    constants = (columns, wide, along, group, vectors, activation, together, clipped)
    return types.void(bases, steps, window, *given, *constants), codegen

"""Where the rows of a tile of consecutive pixels lie, and where their windows of a convolution's input begin.

A tile may reach behind the last pixel of its block; its rows there repeat that pixel. Multiplications and divisions are
made for the first pixel alone: for all, they would outlast the products of a small window.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_types import I64, changed_where, constant_int, items, pack


@intrinsic(prefer_literal=True)
def row_places(typingctx: Any, start: Any, stride: Any, pixel: Any, last: Any, count: Any) -> Any:
    """row_places(start, stride, pixel, last, count): start + stride * p for `count` pixels p from `pixel` on.

    Pixels end before `last`; stride >= 0.
    """
    times = constant_int(count)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        first, step, pixel, last = args[:4]
        places = [builder.add(first, builder.mul(pixel, step))]
        for _ in range(times - 1):
            places.append(builder.add(places[-1], step))
        end = builder.add(first, builder.mul(builder.sub(last, I64(1)), step))
        cut = builder.icmp_signed(">", builder.add(pixel, I64(times)), last)

        def within(place: ir.Value) -> ir.Value:
            return builder.select(builder.icmp_signed("<", place, end), place, end)

        found = changed_where(builder, cut, places, within)
        return pack(context, builder, sig.return_type, found)

    return types.UniTuple(types.int64, times)(*[types.int64] * 4, count), codegen


def _walk(
    builder: ir.IRBuilder, start: list[ir.Value], ends: list[ir.Value], steps: list[list[ir.Value]], left: ir.Value,
    count: int,
) -> list[list[ir.Value]]:  # fmt: skip
    """`count` positions (column, row, place) from `start` on; from number `left` on they repeat the one before.

    `ends`: the last column of a line and the last row of an image; `steps`: what is added within a line, from a line to
    the next, and from an image to the next.
    """
    found = [start]
    for m in range(1, count):
        column, row, _ = found[-1]
        line_ends = builder.icmp_signed("==", column, ends[0])
        image_ends = builder.and_(line_ends, builder.icmp_signed("==", row, ends[1]))
        goes_on = builder.icmp_signed("<", I64(m), left)
        position = []
        for value, within, to_line, to_image in zip(found[-1], *steps, strict=True):
            step = builder.select(image_ends, to_image, builder.select(line_ends, to_line, within))
            position.append(builder.add(value, builder.select(goes_on, step, I64(0))))
        found.append(position)
    return found


@intrinsic(prefer_literal=True)
def window_places(typingctx: Any, image: Any, window: Any, pixel: Any, last: Any, count: Any) -> Any:
    """window_places(image, window, pixel, last, count): where the windows of `count` output pixels begin.

    Three tuples: first input columns, first input rows, addresses. `image` begins with the input's address and the
    bytes from one image, row and pixel to the next; `window`: kernel height and width (not looked at), strides and
    dilations (not looked at) down and across, padding above and on the left, the output's height and width. Pixels end
    before `last`.
    """
    times = constant_int(count)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        x, image_step, row_step, pixel_step = items(builder, args[0], sig.args[0])[:4]
        _, _, stride_y, stride_x, _, _, top, left, height, width = items(builder, args[1], sig.args[1])
        pixel, last = args[2:4]
        add, sub, mul = builder.add, builder.sub, builder.mul
        line = builder.udiv(pixel, width)
        image = builder.udiv(line, height)
        column = sub(mul(sub(pixel, mul(line, width)), stride_x), left)
        row = sub(mul(sub(line, mul(image, height)), stride_y), top)
        place = add(add(x, mul(image, image_step)), add(mul(row, row_step), mul(column, pixel_step)))
        across, down = mul(sub(width, I64(1)), stride_x), mul(sub(height, I64(1)), stride_y)
        to_line = sub(mul(stride_y, row_step), mul(across, pixel_step))
        to_image = sub(image_step, add(mul(down, row_step), mul(across, pixel_step)))
        back = builder.neg(across)
        found = _walk(
            builder,
            [column, row, place],
            [sub(across, left), sub(down, top)],
            [
                [stride_x, I64(0), mul(stride_x, pixel_step)],
                [back, stride_y, to_line],
                [back, builder.neg(down), to_image],
            ],
            sub(last, pixel),
            times,
        )
        columns = [pack(context, builder, sig.return_type[0], list(each)) for each in zip(*found, strict=True)]
        return pack(context, builder, sig.return_type, columns)

    result = types.UniTuple(types.UniTuple(types.int64, times), 3)
    return result(image, window, types.int64, types.int64, count), codegen

"""Lowerings of operations that move elements: permute, slice, concat, pad, shuffles, reshape, nearest resize."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from edgenet.errors import EngineError
from edgenet.graph import Node
from edgenet.kernels.table_memory import INTERLEAVED
from edgenet.prepare.lowering import ELEMENT_BYTES, Lowering, lowers
from edgenet.prepare.plan import Operand, Packed

Address = Operand | Packed
Shape = tuple[int, ...]
MOST_BLOCKS = 5
"""Axes of a permutation whose neighbours all change."""
UNIT_BYTES = 16384
"""Bytes that a unit of a copy moves, about."""


def element_bytes(lowering: Lowering, name: str) -> int:
    """Bytes of one element of a tensor."""
    return ELEMENT_BYTES[lowering.dtype(name)]


def dense_strides(shape: Shape, size: int) -> list[int]:
    """Byte strides of a dense row-major array."""
    strides = [size] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return strides


def collapse(shape: Shape, x: list[int], y: list[int]) -> tuple[list[int], list[int], list[int]]:
    """The loops over `shape` with byte strides x and y, without loops of one turn and with mergeable ones merged."""
    sizes: list[int] = []
    xs: list[int] = []
    ys: list[int] = []
    for n, a, b in zip(shape, x, y, strict=True):
        if n == 1:
            continue
        if sizes and xs[-1] == n * a and ys[-1] == n * b:
            sizes[-1], xs[-1], ys[-1] = sizes[-1] * n, a, b
        else:
            sizes.append(n)
            xs.append(a)
            ys.append(b)
    return sizes, xs, ys


def strided_copy(
    lowering: Lowering, x: Address, y: Operand, shape: Shape, xs: list[int], ys: list[int], size: int
) -> None:
    """Step that copies elements of `size` bytes over the loops `shape` with byte strides xs and ys."""
    sizes, xs, ys = collapse(shape, xs, ys)
    run = size
    if sizes and xs[-1] == size and ys[-1] == size:
        run *= sizes.pop()
        xs.pop()
        ys.pop()
    last = run
    if not sizes and run > UNIT_BYTES:
        count = -(-run // UNIT_BYTES)
        last = run - (count - 1) * UNIT_BYTES
        sizes, xs, ys, run = [count], [UNIT_BYTES], [UNIT_BYTES], UNIT_BYTES
    if len(sizes) > 4:
        raise EngineError("A copy of more than five dimensions that cannot be merged has no kernel.")
    lead = 4 - len(sizes)
    n, xs, ys = [1] * lead + sizes, [0] * lead + xs, [0] * lead + ys
    rows = math.prod(n)
    lowering.step(
        "any_copy",
        units=rows,
        grain=max(1, UNIT_BYTES // run),
        x=x,
        y=y,
        n1=n[1],
        n2=n[2],
        n3=n[3],
        **{f"x{i}": xs[i] for i in range(4)},
        **{f"y{i}": ys[i] for i in range(4)},
        run=run,
        rows=rows,
        last=last,
    )


def blocks_of(shape: Shape, order: list[int]) -> tuple[Shape, list[int]]:
    """The same permutation of as few axes as possible: without axes of size 1, neighbours that stay neighbours as one.

    >>> blocks_of((2, 3, 1, 4, 5), [0, 3, 4, 1, 2])
    ((2, 3, 20), [0, 2, 1])
    """
    order = [axis for axis in order if shape[axis] != 1]
    runs: list[list[int]] = []
    for axis in order:
        if runs and all(shape[between] == 1 for between in range(runs[-1][-1] + 1, axis)) and axis > runs[-1][-1]:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    places = sorted(range(len(runs)), key=lambda run: runs[run][0])
    sizes = tuple(math.prod(shape[axis] for axis in runs[run]) for run in places)
    return sizes, [places.index(run) for run in range(len(runs))]


def permute_array(lowering: Lowering, x: Address, y: Operand, shape: Shape, order: list[int], size: int) -> None:
    """Steps that write x, dense of `shape`, with its axes in `order`.

    The kernels take permutations of up to `MOST_BLOCKS` blocks. Of one of more, steps before put blocks that are
    neighbours in y beside each other, so that the two are one block.
    """
    shape, order = blocks_of(shape, order)
    while len(shape) > MOST_BLOCKS:
        first, second = next((a, b) for a, b in pairwise(order) if b != a + 1)
        near = [axis for axis in range(len(shape)) if axis != second]
        near.insert(near.index(first) + 1, second)
        between = lowering.temporary(math.prod(shape) * size)
        permute_array(lowering, x, lowering.write(between), shape, near, size)
        x, order = lowering.read(between), [near.index(axis) for axis in order]
        shape, order = blocks_of(tuple(shape[axis] for axis in near), order)
    out = tuple(shape[axis] for axis in order)
    strides = dense_strides(shape, size)
    sizes, xs, ys = collapse(out, [strides[axis] for axis in order], dense_strides(out, size))
    if not sizes or xs[-1] == size:
        strided_copy(lowering, x, y, out, [strides[axis] for axis in order], dense_strides(out, size), size)
        return
    prefix = {4: "f32", 1: "s8"}[size]
    p = xs.index(size)
    rest = [i for i in range(len(sizes)) if i not in (p, len(sizes) - 1)]
    planes, length = sizes[-1], sizes[p]
    dense = p == len(sizes) - 2 and len(rest) <= 1 and xs[-1] == length * size
    if dense and planes in INTERLEAVED and all(xs[i] == ys[i] == planes * length * size for i in rest):
        block = min(-(-length // 64) * 64, 2048)
        blocks = -(-length // block)
        outer = math.prod(sizes[i] for i in rest)
        grain = max(1, UNIT_BYTES // (block * planes * size))
        lowering.step(f"{prefix}_interleave{planes}", outer * blocks, grain, x=x, y=y, length=length, block=block)
        return
    n = [1] * (3 - len(rest)) + [sizes[i] for i in rest]
    outer_x = [0] * (3 - len(rest)) + [xs[i] for i in rest]
    outer_y = [0] * (3 - len(rest)) + [ys[i] for i in rest]
    side = lowering.target.lanes if size == 4 else 16
    tiles = -(-length // side)
    lowering.step(
        f"{prefix}_transpose",
        math.prod(n) * tiles,
        max(1, UNIT_BYTES // (side * planes * size)),
        x=x,
        y=y,
        n1=n[1],
        n2=n[2],
        **{f"x{i}": outer_x[i] for i in range(3)},
        **{f"y{i}": outer_y[i] for i in range(3)},
        p_count=length,
        q_count=planes,
        x_stride=xs[-1],
        y_stride=ys[p],
    )


@lowers("permute")
def permute(node: Node, lowering: Lowering) -> None:
    """Axes in another order; the same memory when only axes of size 1 move."""
    x, order = node.inputs["x"], list(node.attributes["order"])
    size, shape = element_bytes(lowering, x), lowering.shape(x)
    moved = [axis for axis in order if shape[axis] != 1]
    if moved == sorted(moved) and node.output not in lowering.graph.outputs and not lowering.is_constant(x):
        lowering.alias(node.output, x)
        return
    permute_array(lowering, lowering.read(x), lowering.write(node.output), shape, order, size)


@lowers("channel_shuffle")
def channel_shuffle(node: Node, lowering: Lowering) -> None:
    """[.., groups, C / groups] to [.., C / groups, groups]."""
    x = node.inputs["x"]
    shape, groups = lowering.shape(x), node.attributes["groups"]
    view = (math.prod(shape[:-1]), groups, shape[-1] // groups)
    size = element_bytes(lowering, x)
    permute_array(lowering, lowering.read(x), lowering.write(node.output), view, [0, 2, 1], size)


@lowers("pixel_shuffle")
def pixel_shuffle(node: Node, lowering: Lowering) -> None:
    """[N,H,W,C,r,r] to [N,H,r,W,r,C]."""
    x, r = node.inputs["x"], node.attributes["factor"]
    n, h, w, c = lowering.shape(x)
    size = element_bytes(lowering, x)
    view = (n * h, w, c // (r * r), r, r)
    permute_array(lowering, lowering.read(x), lowering.write(node.output), view, [0, 3, 1, 4, 2], size)


@lowers("reshape", "flatten")
def reshape(node: Node, lowering: Lowering) -> None:
    """The same memory under another shape; copied where it becomes an output of the network or is a constant."""
    x = node.inputs["x"]
    if node.output in lowering.graph.outputs or lowering.is_constant(x):
        size = element_bytes(lowering, x)
        elements = (lowering.size(x),)
        strided_copy(lowering, lowering.read(x), lowering.write(node.output), elements, [size], [size], size)
    else:
        lowering.alias(node.output, x)


@lowers("slice")
def slice_axis(node: Node, lowering: Lowering) -> None:
    """x[start:stop:step] of one axis."""
    x, a = node.inputs["x"], node.attributes
    shape, out, size = lowering.shape(x), lowering.shape(node.output), element_bytes(lowering, x)
    axis = a["axis"]
    start, _, step = slice(a["start"], a["stop"], a["step"]).indices(shape[axis])
    strides = dense_strides(shape, size)
    offset = start * strides[axis]
    strides[axis] *= step
    source = lowering.read(x, offset)
    if isinstance(source, Packed):
        array = source.array.ravel()[offset // size :]
        source = lowering.packed(("tail", x, offset), lambda: array)
    strided_copy(lowering, source, lowering.write(node.output), out, strides, dense_strides(out, size), size)


@lowers("pad")
def pad(node: Node, lowering: Lowering) -> None:
    """Constant padding."""
    x, pads = node.inputs["x"], node.attributes["pads"]
    shape, size = lowering.shape(x), element_bytes(lowering, x)
    if size == 1:
        byte = lowering.stored(node.attributes["quantized_value"]) & 0xFF
        pattern = byte * 0x01010101
    else:
        pattern = int(np.float32(node.attributes["value"]).view(np.uint32))
    # Axes behind the last padded one belong to the run of bytes; axes before the first padded one to the outermost.
    axes = [(n, pads[2 * i], pads[2 * i + 1]) for i, n in enumerate(shape)]
    merged: list[tuple[int, int, int]] = []
    for n, before, after in axes:
        if merged and before == after == 0:
            m, b, e = merged[-1]
            merged[-1] = (m * n, b * n, e * n)
        else:
            merged.append((n, before, after))
    m, before, after = merged.pop()
    outer = 1
    while merged and merged[0][1] == merged[0][2] == 0:
        outer *= merged.pop(0)[0]
    if len(merged) > 3:
        raise EngineError(f"{node.name}: padding of more than four dimensions has no kernel.")
    merged = [(1, 0, 0)] * (3 - len(merged)) + merged
    sizes = [n + b + e for n, b, e in merged]
    width = (m + before + after) * size
    lowering.step(
        "any_pad",
        outer * math.prod(sizes),
        max(1, UNIT_BYTES // width),
        x=lowering.read(x),
        y=lowering.write(node.output),
        **{f"n{i}": sizes[i] for i in range(3)},
        phases=1,
        **{f"m{i}": merged[i][0] for i in range(3)},
        **{f"before{i}": merged[i][1] for i in range(3)},
        before=before * size,
        run=m * size,
        after=after * size,
        pattern=pattern,
    )

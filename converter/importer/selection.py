"""Operators that pick or repeat elements by number: constant indices, flips, rolls, broadcasts that are carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from .arithmetic import binary
from .context import Importer, parameter
from .layout import cut, join
from .registry import Unsupported, handles
from .regroup import regroup
from .values import Value

MOST_PIECES = 64
"""Slices that an index may fall into."""
MOST_COPIES = 8
"""Copies that are joined, which keep the values' quantization."""


def _runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    """(first, one behind the last) of runs of consecutive numbers.

    >>> _runs([4, 5, 6, 0, 2])
    [(4, 7), (0, 1), (2, 3)]
    """
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def pick(importer: Importer, x: Value, dim: int, indices: torch.Tensor) -> Value:
    """x with the elements `indices` [n] of a torch axis, in this order."""
    dim %= x.rank
    importer.axis(x, dim)
    size = importer.shape(x)[dim]
    if indices.dim() != 1 or not len(indices):
        raise Unsupported("its index is not a list of numbers; use one axis, and at least one number")
    numbers = [int(i) % size for i in indices]
    runs = _runs(numbers)
    if len(runs) > MOST_PIECES:
        raise Unsupported(
            f"its index falls into {len(runs)} pieces, more than {MOST_PIECES}; order the weights instead"
        )
    parts = [cut(importer, x, dim, first, last) for first, last in runs]
    return join(importer, parts, dim) if len(parts) > 1 else parts[0]


@handles("index_select")
def index_select(importer: Importer, a: Mapping[str, Any]) -> Value:
    return pick(importer, a["self"], a["dim"], parameter(a["index"], "index").tensor)


@handles("index")
def index(importer: Importer, a: Mapping[str, Any]) -> Value:
    """A list of numbers in one place."""
    chosen = [(dim, entry) for dim, entry in enumerate(a["indices"]) if entry is not None]
    if len(chosen) != 1:
        raise Unsupported("several axes are indexed by tensors; index one after the other")
    dim, entry = chosen[0]
    numbers = parameter(entry, "index").tensor
    if numbers.dtype == torch.bool:
        raise Unsupported("it indexes by a mask, which may choose any number of elements; use numbers")
    return pick(importer, a["self"], dim, numbers)


@handles("flip")
def flip(importer: Importer, a: Mapping[str, Any]) -> Value:
    """Each axis from its end to its start."""
    x = a["self"]
    for dim in a["dims"]:
        importer.axis(x, dim)
        x = pick(importer, x, dim, torch.arange(importer.shape(x)[dim % x.rank]).flip(0))
    return x


@handles("roll")
def roll(importer: Importer, a: Mapping[str, Any]) -> Value:
    """Along each axis, what leaves at the end comes in at the start."""
    x = a["self"]
    shifts, dims = ([v] if isinstance(v, int) else list(v) for v in (a["shifts"], a["dims"]))
    if not dims:
        raise Unsupported("it rolls over all elements; name the axes")
    for shift, dim in zip(shifts, dims, strict=True):
        importer.axis(x, dim)
        size = importer.shape(x)[dim % x.rank]
        first = -shift % size
        if first:
            x = join(importer, [cut(importer, x, dim, first, None), cut(importer, x, dim, 0, first)], dim)
    return x


@handles("repeat_interleave")
def repeat_interleave(importer: Importer, a: Mapping[str, Any]) -> Value:
    """Each element as often, one behind the other: a new axis is repeated, then merged."""
    x, count, dim = a["self"], a["repeats"], a["dim"]
    if not isinstance(count, int) or count < 1 or dim is None:
        raise Unsupported("it repeats by a tensor or over all elements; use a number and name the axis")
    dim %= x.rank
    importer.axis(x, dim)
    shape = importer.shape(x)
    apart = regroup(importer, x, (*shape[: dim + 1], 1, *shape[dim + 1 :]))
    repeated = broadcast(importer, replace(apart, expanded=(*shape[: dim + 1], count, *shape[dim + 1 :])))
    return regroup(importer, repeated, (*shape[:dim], shape[dim] * count, *shape[dim + 1 :]))


def broadcast(importer: Importer, x: Value) -> Value:
    """A pending broadcast carried out: the pixels of an image by a resize, other axes by joining copies, or, where that
    are many, by adding zeros.
    """
    assert x.expanded is not None, "there is a pending broadcast"
    sizes, x = x.expanded, Value(x.name, x.axes)
    shape = importer.shape(x)
    if x.rank == 4 and shape[2:] == (1, 1) != sizes[2:]:
        x = importer.channels_last(x)
        x = Value(
            importer.emit("resize", {"x": x.name}, {"mode": "nearest", "size": list(sizes[2:])}, "expand"), x.axes
        )
    left = [1] * x.rank
    for dim, (size, wanted) in enumerate(zip(importer.shape(x), sizes, strict=True)):
        if dim and size != wanted:
            if wanted <= MOST_COPIES:
                x = join(importer, [x] * wanted, dim)
            else:
                left[dim] = wanted
    return binary(importer, "add", x, importer.made(torch.zeros(left))) if max(left) > 1 else x

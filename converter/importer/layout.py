"""Operators that move or select elements: reshapes, permutes, slices, concatenation, pixel shuffle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from edgenet.dtypes import BATCH

from .arithmetic import binary
from .context import Importer
from .registry import Unsupported, handles
from .regroup import regroup
from .values import Constant, Value, channels_last

SHAPES = {
    *("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as"),
    *("_unsafe_view", "_reshape_alias"),
}
"""Operators that keep torch's element order."""


@handles(*SHAPES)
def reshape(importer: Importer, a: Mapping[str, Any]) -> Value | Constant:
    """Any operator that keeps torch's element order: the result's shape says it all."""
    assert importer.current is not None, "set by the walk over the program"
    sizes = list(importer.current.meta["val"].shape)
    if isinstance(a["self"], Constant):
        own = [importer.dimension(size) for size in sizes]
        return importer.made(a["self"].tensor.reshape([1 if size == BATCH else size for size in own]))
    return regroup(importer, a["self"], (BATCH, *(importer.dimension(size) for size in sizes[1:])))


def relabel(x: Value, order: Sequence[int]) -> Value:
    """Torch permute: only the meaning of the stored axes changes."""
    if order[0] != 0:
        raise Unsupported("it moves the batch axis; keep samples on axis 0")
    return Value(x.name, tuple(order.index(axis) for axis in x.axes))


def permuted(name: str, rank: int, a: Mapping[str, Any]) -> list[int]:
    """The order that an operator gives the axes of a tensor of `rank` axes."""
    order = list(range(rank))
    if name == "permute":
        return [d % rank for d in a["dims"]]
    if name in ("t", "mT"):
        return [*order[:-2], *order[:-3:-1]]
    if name in ("movedim", "moveaxis"):
        sources, destinations = (
            [d % rank for d in ([v] if isinstance(v, int) else v)] for v in (a["source"], a["destination"])
        )
        order = [axis for axis in order if axis not in sources]
        for destination, source in sorted(zip(destinations, sources, strict=True)):
            order.insert(destination, source)
        return order
    first, second = (a[key] % rank for key in [key for key in a if key != "self"][:2])
    order[first], order[second] = second, first
    return order


def _register(name: str) -> None:
    @handles(name)
    def permute(importer: Importer, a: Mapping[str, Any]) -> Value:
        return relabel(a["self"], permuted(name, a["self"].rank, a))


PERMUTES = {"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "mT"}

for _name in PERMUTES:
    _register(_name)


def cut(importer: Importer, x: Value, dim: int, start: int, stop: int | None, step: int = 1) -> Value:
    """x[start:stop:step] along a torch axis; nothing is emitted for all of it."""
    size = importer.shape(x)[dim % x.rank]
    if start == 0 and step == 1 and (stop is None or (stop >= size and dim % x.rank) or stop >= 2**31):
        return x
    stop = None if stop is not None and stop >= 2**31 else stop
    attributes = {"axis": importer.axis(x, dim), "start": start, "stop": stop, "step": step}
    return Value(importer.emit("slice", {"x": x.name}, attributes), x.axes)


@handles("slice")
def slice_(importer: Importer, a: Mapping[str, Any]) -> Value:
    start, stop = a["start"] or 0, a["end"]
    if not isinstance(start, int) or not (stop is None or isinstance(stop, int)):
        raise Unsupported("a bound of the slice is computed at run time; use numbers")
    return cut(importer, a["self"], a["dim"], start, stop, a["step"])


@handles("narrow")
def narrow(importer: Importer, a: Mapping[str, Any]) -> Value:
    return cut(importer, a["self"], a["dim"], a["start"], a["start"] + a["length"])


def take(importer: Importer, x: Value, dim: int, index: int) -> Value:
    """x.select(dim, index)."""
    dim, shape = dim % x.rank, importer.shape(x)
    if dim == 0:
        raise Unsupported("it selects a sample; keep samples independent")
    index %= shape[dim]
    part = cut(importer, x, dim, index, index + 1)
    return regroup(importer, part, shape[:dim] + shape[dim + 1 :])


@handles("select")
def select(importer: Importer, a: Mapping[str, Any]) -> Value:
    return take(importer, a["self"], a["dim"], a["index"])


@handles("unbind")
def unbind(importer: Importer, a: Mapping[str, Any]) -> list[Value]:
    x = a["self"]
    return [take(importer, x, a["dim"], i) for i in range(importer.shape(x)[a["dim"] % x.rank])]


@handles("split", "split_with_sizes", "chunk", "tensor_split")
def split(importer: Importer, a: Mapping[str, Any]) -> list[Value]:
    """One slice for each part; torch's own result says how large the parts are."""
    assert importer.current is not None, "set by the walk over the program"
    x, dim, start, parts = a["self"], a["dim"] % a["self"].rank, 0, []
    importer.axis(x, dim)
    for part in importer.current.meta["val"]:
        size = importer.dimension(part.shape[dim])
        parts.append(cut(importer, x, dim, start, start + size))
        start += size
    return parts


def pad_axis(importer: Importer, x: Value, dim: int, before: int, behind: int, what: str) -> Value:
    """`x` with zeros along a torch axis."""
    if before == behind == 0:
        return x
    place = importer.axis(x, dim)
    pads = [0, 0] * place + [before, behind] + [0, 0] * (x.rank - 1 - place)
    return Value(importer.emit("pad", {"x": x.name}, {"pads": pads}, what), x.axes)


def join(importer: Importer, values: Sequence[Any], dim: int) -> Value:
    """Concatenate along a torch axis."""
    if not all(isinstance(v, Value) for v in values):
        return _join_constants(importer, values, dim)
    rank = values[0].rank
    axes = next((v.axes for v in values if v.axes == channels_last(rank)), values[0].axes)
    parts = [importer.arrange(v, axes) for v in values]
    roles = {f"x{i}": part.name for i, part in enumerate(parts)}
    return Value(importer.emit("concat", roles, {"axis": importer.axis(parts[0], dim)}), axes)


def _join_constants(importer: Importer, values: Sequence[Any], dim: int) -> Value:
    """Activations make room for the constants between them by zero padding; these are added there."""
    rank = next(v.rank for v in values if isinstance(v, Value))
    dim %= rank
    parts: list[tuple[Value, list[int]]] = []
    content, leading = [], 0
    for value in values:
        if isinstance(value, Value):
            content.append(torch.zeros(1, *importer.shape(value)[1:]))
            parts.append((value, [0 if parts else leading, 0]))
        elif isinstance(value, Constant) and value.tensor.dim() == rank and value.tensor.shape[0] == 1:
            content.append(value.tensor.detach().float())
            if parts:
                parts[-1][1][1] += value.tensor.shape[dim]
            else:
                leading += value.tensor.shape[dim]
        else:
            raise Unsupported("a constant that is concatenated has samples of its own; give it size 1 there")
    padded = [pad_axis(importer, x, dim, before, behind, "room") for x, (before, behind) in parts]
    joined = join(importer, padded, dim) if len(padded) > 1 else padded[0]
    filled = torch.cat(content, dim)
    return binary(importer, "add", joined, importer.made(filled)) if filled.any() else joined


@handles("cat", "concat", "concatenate")
def cat(importer: Importer, a: Mapping[str, Any]) -> Value:
    return join(importer, a["tensors"], a["dim"])


def stacked(importer: Importer, values: Sequence[Any], dim: int) -> Value:
    """Concatenate along a new torch axis."""
    if not all(isinstance(v, Value) for v in values):
        raise Unsupported("a constant is stacked with activations; add it to the input instead")
    dim %= values[0].rank + 1
    if dim == 0:
        raise Unsupported("it moves the batch from axis 0; stack along another axis")
    shape = importer.shape(values[0])
    return join(importer, [regroup(importer, v, (*shape[:dim], 1, *shape[dim:])) for v in values], dim)


@handles("stack")
def stack(importer: Importer, a: Mapping[str, Any]) -> Value:
    return stacked(importer, a["tensors"], a["dim"])


@handles("slice_scatter")
def slice_scatter(importer: Importer, a: Mapping[str, Any]) -> Value:
    """What writing into a slice becomes: what lies before it, the new values, what lies behind."""
    x, source, dim = a["self"], a["src"], a["dim"] % a["self"].rank
    if a["step"] != 1 or not isinstance(source, Value):
        raise Unsupported("it writes constants, or every other element, into a slice; concatenate instead")
    if dim == 0:
        if not a["start"] and (a["end"] is None or a["end"] >= 2**31):
            return source
        raise Unsupported("it writes into some samples; keep samples independent")
    size = importer.shape(x)[dim]
    start, stop, _ = slice(a["start"], a["end"]).indices(size)
    before = [cut(importer, x, dim, 0, start)] if start > 0 else []
    behind = [cut(importer, x, dim, stop, None)] if stop < size else []
    return join(importer, [*before, source, *behind], dim) if before or behind else source


@handles("pixel_shuffle")
def pixel_shuffle(importer: Importer, a: Mapping[str, Any]) -> Value:
    x = importer.images(a["self"])
    return Value(importer.emit("pixel_shuffle", {"x": x.name}, {"factor": a["upscale_factor"]}), x.axes)


@handles("pixel_unshuffle")
def pixel_unshuffle(importer: Importer, a: Mapping[str, Any]) -> Value:
    """Split H and W into blocks and move them behind the channels: reshape, permute, reshape."""
    x, r = importer.images(a["self"]), a["downscale_factor"]
    _, channels, height, width = importer.shape(x)
    blocks = {"shape": [0, height // r, r, width // r, r, channels]}
    name = importer.emit("reshape", {"x": x.name}, blocks)
    name = importer.emit("permute", {"x": name}, {"order": [0, 1, 3, 5, 2, 4]})
    flat = {"shape": [0, height // r, width // r, channels * r * r]}
    return Value(importer.emit("reshape", {"x": name}, flat), x.axes)


def _repeated(importer: Importer, constant: Constant, counts: Sequence[Any]) -> Constant:
    """A constant repeated for each sample: still one of one sample."""
    one = constant.tensor.dim() < len(counts) or constant.tensor.shape[0] == 1
    if not one or not importer.is_batch(counts[0]) or not all(isinstance(n, int) for n in counts[1:]):
        raise Unsupported("it makes a constant with samples of its own; give it size 1 on axis 0")
    return importer.made(constant.tensor.repeat(1, *counts[1:]))


@handles("repeat", "tile")
def repeat(importer: Importer, a: Mapping[str, Any]) -> Value | Constant:
    """Axes of size 1 become a pending broadcast, others are joined."""
    x, counts = a["self"], list(a["repeats"] if "repeats" in a else a["dims"])
    if isinstance(x, Constant):
        return _repeated(importer, x, counts)
    if len(counts) > x.rank or any(not isinstance(n, int) or n < 1 for n in counts):
        raise Unsupported("it adds axes or repeats a computed number of times; unsqueeze first and use numbers")
    sizes = list(importer.shape(x))
    for dim, count in enumerate(counts, start=x.rank - len(counts)):
        sizes[dim] *= count
        if count > 1 and sizes[dim] != count:
            x = join(importer, [x] * count, dim)
    wanted = tuple(sizes)
    return x if wanted == importer.shape(x) else Value(x.name, x.axes, wanted)


@handles("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(importer: Importer, a: Mapping[str, Any]) -> Value:
    x = importer.channels_last(a["self"])
    return Value(importer.emit("channel_shuffle", {"x": x.name}, {"groups": a["groups"]}), x.axes)

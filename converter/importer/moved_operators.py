"""What operators compute on tensors whose samples a module has moved (see `moved`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgenet.dtypes import BATCH

from . import activation
from .comparisons import BOOLEAN
from .context import Importer
from .layout import PERMUTES, SHAPES, cut, permuted, relabel, stacked
from .moved import Moved, as_moved, homed, merged, reshaped, settled
from .registry import HANDLERS, Unsupported
from .regroup import regroup
from .selection import broadcast
from .values import Constant, Value
from .windows import convolve_windows

RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
"""Operators that take the sequence before samples, as torch's default is."""
SAME = {
    *(name for name, handler in HANDLERS.items() if handler.__module__ == activation.__name__),
    *("dropout", "feature_dropout", "contiguous", "clone", "detach", "alias", "to", "_to_copy", "type_as", "float"),
    *("linear", "softmax", "_softmax", "log_softmax", "layer_norm", "rms_norm", "pad", "constant_pad_nd"),
}
"""Operators that keep the axes and compute each value, or each row of the last axis or of `dim`, on its own."""
REDUCTIONS = {"mean", "sum", "var", "std", "linalg_vector_norm", "norm", "amax", "amin"}
NORMS = {
    "batch_norm",
    "_native_batch_norm_legit_no_training",
    "native_batch_norm",
    "cudnn_batch_norm",
    "prelu",
    "_prelu_kernel",
}
"""Operators whose constants belong to torch's axis 1."""
ARITHMETIC = {
    "add",
    "sub",
    "subtract",
    "rsub",
    "mul",
    "multiply",
    "div",
    "divide",
    "true_divide",
    "masked_fill",
    "where",
    *BOOLEAN,
}
PRODUCTS = {"matmul", "bmm", "baddbmm", "scaled_dot_product_attention"}
CONVOLUTIONS = {"conv2d", "convolution"}
PARTS = {"select", "unbind", "split", "split_with_sizes", "chunk", "slice", "narrow", "cat", "concat", "concatenate"}


def _carried_out(importer: Importer, value: Any) -> Any:
    """An operand, or a list of them, without a pending broadcast."""
    if isinstance(value, list):
        return [_carried_out(importer, entry) for entry in value]
    if not isinstance(value, Moved) or value.expanded is None:
        return value
    x = merged(importer, value)
    sizes = list(importer.shape(x.value))
    for group, size in zip(x.groups, value.expanded, strict=True):
        if 0 not in group:
            sizes[group[0]] = size
    return Moved(broadcast(importer, replace(x.value, expanded=tuple(sizes))), x.groups)


def _own_axis(importer: Importer, x: Moved, dim: int) -> int:
    """The axis of a merged value for torch axis `dim`. Unsupported for the one with the samples."""
    group = x.groups[dim % x.rank]
    if importer.single:
        group = tuple(axis for axis in group if axis)
    if 0 in group or not group:
        raise Unsupported("it works along the batch axis; keep samples independent")
    return group[0]


def _inner(importer: Importer, x: Moved, a: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a handler on the value of a merged `x`: `dim` counts its axes."""
    if 0 in x.groups[-1]:
        raise Unsupported("samples are on the last axis; keep them on axis 0")
    key = "input" if "input" in a else "self"
    inner = len(a.get("normalized_shape") or ()) + len(a.get("pad") or ()) // 2
    if any(0 in group for group in x.groups[x.rank - inner :]):
        raise Unsupported("it works along the batch axis; keep samples independent")
    changed = {**a, key: x.value}
    if isinstance(a.get("dim"), int):
        changed["dim"] = _own_axis(importer, x, a["dim"])
    return changed


def _same_places(importer: Importer, one: Moved, two: Moved, count: int) -> bool:
    """Whether the first `count` torch axes of two merged values hold samples in the same way."""
    a, b = importer.shape(one.value), importer.shape(two.value)
    pairs = zip(one.groups[:count], two.groups[:count], strict=True)
    return all(g == h and (0 not in g or all(a[i] == b[i] for i in g)) for g, h in pairs)


def _operand(importer: Importer, like: Moved, other: Any) -> Any:
    """An operand of arithmetic with the value of `like`, which is merged."""
    if isinstance(other, Value | Moved):
        found = merged(importer, as_moved(other))
        if found.rank != like.rank or not _same_places(importer, like, found, like.rank):
            raise Unsupported("its operands hold samples in different places; keep samples on axis 0")
        return found.value
    if isinstance(other, Constant) and other.tensor.dim():
        sizes = [1] * (like.rank - other.tensor.dim()) + list(other.tensor.shape)
        if len(sizes) != like.rank:
            raise Unsupported("a constant has more axes than the activation")
        shape, stored = [1] * like.value.rank, importer.shape(like.value)
        for group, size in zip(like.groups, sizes, strict=True):
            inner = [axis for axis in group if axis]
            if size == 1:
                continue
            if 0 in group and size != math.prod(stored[axis] for axis in inner):
                raise Unsupported("a constant has samples of its own; give it size 1 there")
            for axis in inner:
                shape[axis] = stored[axis] if 0 in group else size
        return Constant(other.tensor.reshape(shape), other.name)
    return other


def _arithmetic(importer: Importer, name: str, a: Mapping[str, Any]) -> Moved:
    like = merged(importer, next(value for value in a.values() if isinstance(value, Moved)))
    tensors = {key: value for key, value in a.items() if isinstance(value, Value | Moved | Constant)}
    operands = {key: _operand(importer, like, value) for key, value in tensors.items()}
    return Moved(HANDLERS[name](importer, {**a, **operands}), like.groups)


def _product(importer: Importer, name: str, a: Mapping[str, Any]) -> Moved:
    """Products over the last two axes; those before must hold samples in the same way."""
    found = {key: merged(importer, as_moved(x)) for key, x in a.items() if isinstance(x, Value | Moved)}
    first = next(iter(found.values()))
    for x in found.values():
        alike = x.rank == first.rank and _same_places(importer, first, x, first.rank)
        if not alike or first.samples >= first.rank - 2:
            raise Unsupported("both sides of a product must hold samples in the same way, before the last two axes")
    values: dict[str, Any] = {key: x.value for key, x in found.items()}
    for key in ("attn_mask", "self"):
        if isinstance(a.get(key), Constant):
            values[key] = _operand(importer, first, a[key])
    return Moved(HANDLERS[name](importer, {**a, **values}), first.groups)


def _parts(importer: Importer, name: str, a: Mapping[str, Any], result: Any) -> Any:
    """Slices along one axis, and their concatenation."""
    if name in ("cat", "concat", "concatenate"):
        if not all(isinstance(x, Value | Moved) for x in a["tensors"]):
            raise Unsupported("a constant is concatenated where samples are not on axis 0; keep them there")
        parts = [merged(importer, as_moved(x)) for x in a["tensors"]]
        if not all(_same_places(importer, parts[0], x, parts[0].rank) for x in parts):
            raise Unsupported("its operands hold samples in different places; keep samples on axis 0")
        inner = {"tensors": [x.value for x in parts], "dim": _own_axis(importer, parts[0], a["dim"])}
        return Moved(HANDLERS["cat"](importer, inner), parts[0].groups)
    if name == "slice" and not a["start"] and a["step"] == 1 and (a["end"] is None or a["end"] >= 2**31):
        return a["self"]
    x = merged(importer, a["self"])
    axis = _own_axis(importer, x, a["dim"])
    if name in ("slice", "narrow"):
        return Moved(HANDLERS[name](importer, {**a, "self": x.value, "dim": axis}), x.groups)
    if name == "select":
        at = a["index"] % importer.shape(x.value)[axis]
        return reshaped(importer, Moved(cut(importer, x.value, axis, at, at + 1), x.groups), result.shape)
    found, start, dim = [], 0, a["dim"] % x.rank
    for part in result:
        size = 1 if name == "unbind" else importer.extent(part.shape[dim])
        piece = Moved(cut(importer, x.value, axis, start, start + size), x.groups)
        found.append(reshaped(importer, piece, part.shape) if name == "unbind" else piece)
        start += size
    return found


def _chosen(importer: Importer, name: str, a: Mapping[str, Any]) -> Moved:
    """Elements by number along one axis, of which the result has as many axes."""
    x = merged(importer, a["self"])
    if name == "index_select":
        return Moved(
            HANDLERS[name](importer, {**a, "self": x.value, "dim": _own_axis(importer, x, a["dim"])}), x.groups
        )
    indices: list[Any] = [None] * x.value.rank
    for dim, entry in enumerate(a["indices"]):
        if isinstance(entry, Constant) and entry.tensor.dim() == 1:
            indices[_own_axis(importer, x, dim)] = entry
        elif entry is not None:
            raise Unsupported("an axis is indexed by a table, or at run time; use a list of numbers")
    return Moved(HANDLERS[name](importer, {"self": x.value, "indices": indices}), x.groups)


def _reduction(importer: Importer, name: str, a: Mapping[str, Any], shape: Sequence[Any]) -> Value | Moved:
    """Over axes of their own; they stay as axes of size 1 until the result has torch's shape."""
    x = merged(importer, a["self"])
    dims = [a["dim"]] if isinstance(a.get("dim"), int) else a.get("dim")
    if not dims:
        raise Unsupported("reducing everything mixes samples; give the axes")
    axes = [_own_axis(importer, x, dim) for dim in dims]
    found = HANDLERS[name](importer, {**a, "self": x.value, "dim": axes, "keepdim": True})
    return reshaped(importer, Moved(found, x.groups), shape)


def _by_channel(importer: Importer, name: str, a: Mapping[str, Any]) -> Any:
    """The channels of torch's axis 1 become axis 1 of the value."""
    key = "input" if "input" in a else "self"
    x = merged(importer, a[key])
    channel, rank = _own_axis(importer, x, 1), x.value.rank
    order = [0, channel, *(axis for axis in range(1, rank) if axis != channel)]
    value = relabel(x.value, order)
    shape = importer.shape(value)
    found = HANDLERS[name](importer, {**a, key: regroup(importer, value, (BATCH, shape[1], math.prod(shape[2:])))})
    back = [order.index(axis) for axis in range(rank)]
    results = [
        Moved(relabel(regroup(importer, y, (BATCH, *shape[1:])), back), x.groups)
        for y in (found if isinstance(found, list) else [found])
    ]
    return results if isinstance(found, list) else results[0]


def _sequence_first(importer: Importer, name: str, a: Mapping[str, Any]) -> list[Any]:
    """A recurrent layer whose input is [T, N, I], or whose states are computed."""
    x = a["input"]
    states = a["hx"] if isinstance(a["hx"], list) else [a["hx"]]
    states = [merged(importer, state) if isinstance(state, Moved) else state for state in states]
    a = {**a, "hx": states if isinstance(a["hx"], list) else states[0]}
    if a["batch_first"] and isinstance(x, Value):
        return HANDLERS[name](importer, a)
    if a["batch_first"] or not isinstance(x, Moved) or x.rank != 3 or x.samples != (0 if importer.single else 1):
        raise Unsupported("its input must have samples on axis 0 (batch_first=True), or on axis 1")
    first = settled(importer, homed(importer, x.value, [x.groups[axis] for axis in (1, 0, 2)]))
    outputs, *states = HANDLERS[name](importer, {**a, "input": first, "batch_first": True})
    return [homed(importer, outputs, ((1,), (0,), (2,))), *states]


def convert(importer: Importer, name: str, a: Mapping[str, Any]) -> Any:
    """The result of an operator of which an operand is `Moved`, or that moves samples itself."""
    assert importer.current is not None, "set by the walk over the program"
    result = importer.current.meta["val"]
    if name not in ARITHMETIC:
        a = {key: _carried_out(importer, value) for key, value in a.items()}
    if name == "stack" and all(isinstance(x, Value) for x in a["tensors"]):
        stacked_second = stacked(importer, a["tensors"], 1)
        return Moved(stacked_second, ((1,), (0,), *((axis,) for axis in range(2, stacked_second.rank))))
    if name in SHAPES:
        return reshaped(importer, as_moved(a["self"]), result.shape)
    if name in PERMUTES:
        x = as_moved(a["self"])
        order = permuted(name, x.rank, a)
        return settled(importer, homed(importer, x.value, [x.groups[axis] for axis in order]))
    if name in ARITHMETIC:
        return _arithmetic(importer, name, a)
    if name in PRODUCTS:
        return _product(importer, name, a)
    if name in REDUCTIONS:
        return _reduction(importer, name, a, result.shape)
    if name in NORMS:
        return _by_channel(importer, name, a)
    if name in ("expand", "expand_as") and len(result.shape) == a["self"].rank:
        sizes = tuple(importer.extent(size) for size in result.shape)
        return replace(a["self"], expanded=sizes)
    if name in RECURRENT:
        return _sequence_first(importer, name, a)
    if name in PARTS:
        return _parts(importer, name, a, result)
    if name in ("index", "index_select"):
        return _chosen(importer, name, a)
    if name in CONVOLUTIONS and isinstance(a["input"], Moved):
        return convolve_windows(importer, a)
    if name not in SAME:
        raise Unsupported("its input has samples elsewhere; keep samples on axis 0")
    x = merged(importer, a["input"] if "input" in a else a["self"])
    found = HANDLERS[name](importer, _inner(importer, x, a))
    return [Moved(v, x.groups) for v in found] if isinstance(found, list) else Moved(found, x.groups)

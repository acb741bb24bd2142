"""Products of two activations, and attention, which is two of them with a softmax between."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from edgenet.dtypes import BATCH

from .arithmetic import binary
from .context import Importer
from .convolution import apply_linear
from .layout import relabel
from .registry import Unsupported, handles
from .regroup import regroup
from .values import MOST, Constant, Value, finite, plain


def swapped(x: Value) -> Value:
    """`x` with its last two torch axes swapped."""
    order = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
    return relabel(x, order)


def product(importer: Importer, a: Value, b: Value, scale: float = 1.0) -> Value:
    """scale * a @ b over the last two torch axes."""
    if a.rank != b.rank or a.rank < 3:
        raise Unsupported("both sides of a product must have as many axes, the batch and two at least; unsqueeze one")
    sizes = tuple(zip(importer.shape(a)[1:-2], importer.shape(b)[1:-2], strict=True))
    if any(one != two and 1 in (one, two) for one, two in sizes):
        return _broadcast_product(importer, a, b, scale)
    axes = plain(a.rank)
    roles = {"a": importer.arrange(a, axes).name, "b": importer.arrange(b, axes).name}
    return Value(importer.emit("matmul", roles, {"scale": scale}), axes)


def _broadcast_product(importer: Importer, a: Value, b: Value, scale: float) -> Value:
    """`product` where an axis before the last two has size 1 on one side: the other side's becomes rows, or columns."""
    rank, one, two = a.rank, importer.shape(a), importer.shape(b)
    before = range(1, rank - 2)
    rows = [axis for axis in before if one[axis] != 1 == two[axis]]
    columns = [axis for axis in before if one[axis] == 1 != two[axis]]
    both = [axis for axis in before if axis not in rows and axis not in columns]
    kept = tuple(one[axis] for axis in both)
    order = [0, *both, *rows, rank - 2, *columns, rank - 1]
    left, right = relabel(a, [0, *both, *columns, *rows, rank - 2, rank - 1]), relabel(b, order)
    height, depth, width = math.prod(one[axis] for axis in rows) * one[-2], one[-1], two[-1]
    left = regroup(importer, left, (BATCH, *kept, height, depth))
    right = regroup(importer, right, (BATCH, *kept, depth, math.prod(two[axis] for axis in columns) * width))
    parts = (*kept, *(one[axis] for axis in rows), one[-2], *(two[axis] for axis in columns), width)
    y = regroup(importer, product(importer, left, right, scale), (BATCH, *parts))
    return relabel(y, [order.index(axis) for axis in range(rank)])


def _matrix(constant: Constant) -> Constant:
    """A constant without leading axes of size 1. Unsupported if it is not one matrix for all samples."""
    tensor = constant.tensor
    while tensor.dim() > 2 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.dim() != 2:
        raise Unsupported("only products with one matrix for all samples are converted")
    return constant if tensor is constant.tensor else Constant(tensor, constant.name)


def multiply(importer: Importer, a: Any, b: Any) -> Value:
    """a @ b of two activations, or of one and a matrix."""
    if isinstance(b, Constant):
        return apply_linear(importer, a, _matrix(b), None, "matrix")
    if isinstance(a, Constant):
        return swapped(apply_linear(importer, swapped(b), _matrix(a), None, "linear"))
    return product(importer, a, b)


@handles("matmul", "mm", "bmm")
def matmul(importer: Importer, a: Mapping[str, Any]) -> Value:
    return multiply(importer, a["self"], a["other"] if "other" in a else a["mat2"])


@handles("baddbmm")
def baddbmm(importer: Importer, a: Mapping[str, Any]) -> Value:
    """beta * self + alpha * batch1 @ batch2."""
    scaled = product(importer, a["batch1"], a["batch2"], float(a["alpha"]))
    if a["beta"] == 0:
        return scaled
    added = a["self"]
    if a["beta"] != 1:
        added = (
            Constant(added.tensor * a["beta"], added.name)
            if isinstance(added, Constant)
            else binary(importer, "mul", added, a["beta"])
        )
    return binary(importer, "add", scaled, added)


def _masked(importer: Importer, scores: Value, mask: Any, causal: bool) -> Value:
    """Scores plus a mask: what it leaves out becomes the lowest number."""
    queries, keys = importer.shape(scores)[-2:]
    if causal:
        mask = importer.made(torch.ones(queries, keys, dtype=torch.bool).tril())
    if mask is None:
        return scores
    if isinstance(mask, Constant):
        added = mask.tensor
        if not added.is_floating_point():
            added = torch.zeros(added.shape).masked_fill(~added.bool(), -MOST)
        mask = Constant(finite(added), mask.name)
        if not added.any():
            return scores
    return binary(importer, "add", scores, mask)


@handles("scaled_dot_product_attention")
def attention(importer: Importer, a: Mapping[str, Any]) -> Value:
    """softmax(query @ key.T * scale + mask) @ value, as torch computes it at inference."""
    query, key, value = (a[name] for name in ("query", "key", "value"))
    if not all(isinstance(x, Value) for x in (query, key, value)):
        raise Unsupported("its query, key or value is a constant; add a zero that depends on the input")
    if a["dropout_p"]:
        raise Unsupported("dropout in training mode; pass dropout_p=0 at inference")
    if a["enable_gqa"]:
        raise Unsupported("grouped queries; repeat the keys and values")
    width = importer.shape(query)[-1]
    scale = 1 / math.sqrt(width) if a["scale"] is None else float(a["scale"])
    scores = product(importer, query, swapped(key), scale)
    scores = _masked(importer, scores, a["attn_mask"], bool(a["is_causal"]))
    weights = importer.emit("softmax", {"x": scores.name}, {"axis": importer.axis(scores, -1)}, "softmax")
    return product(importer, Value(weights, scores.axes), value)

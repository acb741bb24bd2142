"""Sums, means, variances and norms over axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .activation import activate
from .arithmetic import binary
from .context import Importer
from .registry import Unsupported, handles
from .values import Value


def reduced_axes(a: Mapping[str, Any]) -> list[int]:
    """The torch axes to reduce; Unsupported for all of them."""
    dims = a.get("dim")
    if isinstance(dims, int):
        return [dims]
    if not dims:
        raise Unsupported("reducing everything mixes samples; give the axes")
    return list(dims)


def kept_axes(x: Value, reduced: set[int]) -> tuple[int, ...]:
    """The stored axes of `x` without the reduced torch axes, numbered anew."""
    left = [axis for axis in x.axes if axis not in reduced]
    return tuple(sorted(left).index(axis) for axis in left)


@handles("sum")
def total(importer: Importer, a: Mapping[str, Any]) -> Value:
    """The mean times the number of values."""
    shape = importer.shape(a["self"])
    return binary(importer, "mul", mean(importer, a), math.prod(shape[d] for d in reduced_axes(a)))


@handles("mean")
def mean(importer: Importer, a: Mapping[str, Any]) -> Value:
    x = a["self"]
    torch_axes = {d % x.rank for d in reduced_axes(a)}
    stored = sorted(importer.axis(x, d) for d in torch_axes)
    keep = bool(a.get("keepdim", False))
    name = importer.emit("mean", {"x": x.name}, {"axes": stored, "keepdims": keep})
    if keep:
        return Value(name, x.axes)
    return Value(name, kept_axes(x, torch_axes))


def _variance(importer: Importer, a: Mapping[str, Any]) -> Value:
    """The mean of the squares of what differs from the mean, over n minus `correction` values."""
    x, axes = a["self"], reduced_axes(a)
    centered = binary(importer, "sub", x, mean(importer, {**a, "keepdim": True}))
    count = math.prod(importer.shape(x)[d] for d in axes)
    correction = a["correction"] if a.get("correction") is not None else int(a.get("unbiased", True))
    if count <= correction:
        raise Unsupported(f"the variance of {count} values corrected by {correction} has no value")
    result = mean(importer, {**a, "self": activate(importer, centered, "square")})
    return binary(importer, "mul", result, count / (count - correction)) if correction else result


@handles("var")
def var(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _variance(importer, a)


@handles("std")
def std(importer: Importer, a: Mapping[str, Any]) -> Value:
    return activate(importer, _variance(importer, a), "sqrt")


def _length(importer: Importer, x: Value, dim: int, keep: bool) -> Value:
    """The root of the sum of squares over an axis."""
    squares = total(importer, {"self": activate(importer, x, "square"), "dim": dim, "keepdim": keep})
    return activate(importer, squares, "sqrt")


@handles("cosine_similarity")
def cosine_similarity(importer: Importer, a: Mapping[str, Any]) -> Value:
    """The products' sum over the lengths' product, each length at least eps."""
    one, other, dim, eps = a["x1"], a["x2"], a["dim"], float(a["eps"])
    product = total(importer, {"self": binary(importer, "mul", one, other), "dim": dim})
    lengths = [activate(importer, _length(importer, x, dim, False), "clamp", min=eps, max=None) for x in (one, other)]
    return binary(importer, "div", product, binary(importer, "mul", *lengths))


@handles("pairwise_distance")
def pairwise_distance(importer: Importer, a: Mapping[str, Any]) -> Value:
    """The length of x1 - x2 + eps over the last axis."""
    if a["p"] != 2:
        raise Unsupported(f"only distances of order 2 are converted, not {a['p']}")
    between = binary(importer, "add", binary(importer, "sub", a["x1"], a["x2"]), float(a["eps"]))
    return _length(importer, between, -1, bool(a["keepdim"]))


@handles("linalg_vector_norm", "norm")
def vector_norm(importer: Importer, a: Mapping[str, Any]) -> Value:
    """The sum of magnitudes (order 1), or the root of the sum of squares (order 2)."""
    order = a["ord"] if "ord" in a else 2 if a.get("p") is None else a["p"]
    if order not in (1, 2):
        raise Unsupported(f"only norms of order 1 and 2 are converted, not {order}")
    result = total(importer, {**a, "self": activate(importer, a["self"], "abs" if order == 1 else "square")})
    return result if order == 1 else activate(importer, result, "sqrt")

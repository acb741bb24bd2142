"""Greatest and least values, over axes or of two tensors, by windows of max_pool2d."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .activation import activate
from .arithmetic import binary
from .comparisons import greater, truth_value
from .context import Importer
from .layout import stacked
from .masks import choose_where
from .reductions import kept_axes, reduced_axes, total
from .registry import handles
from .values import Value


def _over_axes(importer: Importer, x: Value, dims: Sequence[int], keep: bool) -> Value:
    """The greatest values over the torch axes `dims`, one after the other, each seen as the width of an image."""
    torch_axes = {d % x.rank for d in dims}
    name, sizes = x.name, list(importer.graph.tensors[x.name].shape)
    stored = sorted(importer.axis(x, d) for d in torch_axes)
    for place in reversed(stored):
        view = [0, math.prod(sizes[1:place]), sizes[place], math.prod(sizes[place + 1 :])]
        name = importer.emit("reshape", {"x": name}, {"shape": view}, "view")
        name = importer.emit("max_pool2d", {"x": name}, {"kernel": [1, view[2]], "stride": [1, view[2]]})
        sizes[place] = 1
    shape = [0, *(n for i, n in enumerate(sizes) if i and (keep or i not in stored))]
    name = importer.emit("reshape", {"x": name}, {"shape": shape}, "shape")
    return Value(name, x.axes if keep else kept_axes(x, torch_axes))


def extreme(importer: Importer, x: Value, dims: Sequence[int], keep: bool, least: bool) -> Value:
    """The least values are the greatest of the negated ones, negated."""
    if not least:
        return _over_axes(importer, x, dims, keep)
    return activate(importer, _over_axes(importer, activate(importer, x, "neg"), dims, keep), "neg")


def _reduce(importer: Importer, a: Mapping[str, Any], least: bool) -> Value:
    return extreme(importer, a["self"], reduced_axes(a), bool(a["keepdim"]), least)


def _of_two(importer: Importer, a: Mapping[str, Any], least: bool) -> Value:
    """A window over two tensors of the same shape, which int8 has, too; a constant, or another shape, is compared."""
    one, other = a["self"], a["other"]
    if isinstance(one, Value) and isinstance(other, Value) and importer.shape(one) == importer.shape(other):
        return extreme(importer, stacked(importer, [one, other], 1), [1], False, least)
    first_is_more = greater(importer, one, other)
    return choose_where(importer, first_is_more, *((other, one) if least else (one, other)))


def _register(reduction: str, whole: str, elementwise: str, least: bool) -> None:
    @handles(reduction)
    def over_axes(importer: Importer, a: Mapping[str, Any]) -> Value:
        return _reduce(importer, a, least)

    @handles(elementwise)
    def of_two(importer: Importer, a: Mapping[str, Any]) -> Value:
        return _of_two(importer, a, least)

    @handles(whole)
    def either(importer: Importer, a: Mapping[str, Any]) -> Any:
        """Of two tensors, or over one axis, where the places of the values are not converted."""
        return _of_two(importer, a, least) if "other" in a else [_reduce(importer, a, least)]


_register("amax", "max", "maximum", False)
_register("amin", "min", "minimum", True)


@handles("any")
def any_of(importer: Importer, a: Mapping[str, Any]) -> Value:
    return extreme(importer, truth_value(importer, a["self"]), reduced_axes(a), bool(a.get("keepdim")), False)


@handles("all")
def all_of(importer: Importer, a: Mapping[str, Any]) -> Value:
    return extreme(importer, truth_value(importer, a["self"]), reduced_axes(a), bool(a.get("keepdim")), True)


@handles("logsumexp")
def logsumexp(importer: Importer, a: Mapping[str, Any]) -> Value:
    """The greatest value, plus the logarithm of the sum of exp(x less that)."""
    x, dims = a["self"], reduced_axes(a)
    greatest = extreme(importer, x, dims, True, False)
    rest = activate(importer, binary(importer, "sub", x, greatest), "exp")
    summed = activate(importer, total(importer, {"self": rest, "dim": dims, "keepdim": a["keepdim"]}), "log")
    return binary(importer, "add", summed, greatest if a["keepdim"] else extreme(importer, x, dims, False, False))

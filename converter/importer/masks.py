"""Choices by a mask: masked_fill, where and the like.

A constant mask becomes products with zeros and ones; one that is computed keeps each side where it applies and adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .arithmetic import binary
from .comparisons import greater, negated
from .context import Importer, parameter
from .registry import Unsupported, handles
from .values import Constant, Value, finite


def _finite(value: Any) -> torch.Tensor:
    """A constant or number as a tensor."""
    return finite(value.tensor if isinstance(value, Constant) else torch.tensor(float(value)))


def _part(importer: Importer, value: Any, mask: torch.Tensor) -> Any:
    """value where `mask`, else 0."""
    if isinstance(value, Value):
        return value if bool(mask.all()) else binary(importer, "mul", value, importer.made(mask.float()))
    return importer.made(torch.where(mask, _finite(value), torch.zeros(())))


def choose(importer: Importer, mask: torch.Tensor, one: Any, other: Any) -> Value:
    """`one` where the mask is true, `other` elsewhere; at least one of them is an activation."""
    first, second = _part(importer, one, mask), _part(importer, other, ~mask)
    for part, value in ((first, second), (second, first)):
        if isinstance(part, Constant) and not part.tensor.any() and isinstance(value, Value):
            return value
    return binary(importer, "add", first, second)


def _kept(importer: Importer, value: Any, truth: Value) -> Value | None:
    """value where `truth` is 1, else 0; None for 0 itself."""
    if not isinstance(value, Value):
        tensor = _finite(value)
        if not tensor.any():
            return None
        value = importer.made(tensor)
    return binary(importer, "mask", value, truth)


def choose_where(importer: Importer, truth: Any, one: Any, other: Any) -> Value:
    """`one` where the truth value is 1, `other` elsewhere."""
    if isinstance(truth, Constant):
        return choose(importer, truth.tensor.bool(), one, other)
    first, second = _kept(importer, one, truth), _kept(importer, other, negated(importer, truth))
    if first is None:
        return second if second is not None else binary(importer, "mul", truth, 0.0)
    return first if second is None else binary(importer, "add", first, second)


@handles("masked_fill")
def masked_fill(importer: Importer, a: Mapping[str, Any]) -> Value:
    fill = a["value"] if isinstance(a["value"], int | float) else parameter(a["value"], "value")
    return choose_where(importer, a["mask"], fill, a["self"])


@handles("where")
def where(importer: Importer, a: Mapping[str, Any]) -> Value:
    if "self" not in a:
        raise Unsupported("it lists the places where a condition holds, whose number is not fixed")
    return choose_where(importer, a["condition"], a["self"], a["other"])


@handles("threshold")
def threshold(importer: Importer, a: Mapping[str, Any]) -> Value:
    x = a["self"]
    return choose_where(importer, greater(importer, x, float(a["threshold"])), x, float(a["value"]))


def _triangle(importer: Importer, a: Mapping[str, Any], upper: bool) -> Value:
    x = a["self"]
    if x.rank < 3:
        raise Unsupported("it takes samples for rows of a matrix; keep samples independent")
    ones = torch.ones(importer.shape(x)[-2:])
    kept = ones.triu(a["diagonal"]) if upper else ones.tril(a["diagonal"])
    return choose(importer, kept.bool(), x, 0.0)


@handles("triu")
def triu(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _triangle(importer, a, True)


@handles("tril")
def tril(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _triangle(importer, a, False)

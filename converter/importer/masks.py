"""Choices by a constant mask: masked_fill and where become products with zeros and ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .arithmetic import binary
from .context import Importer, parameter
from .registry import Unsupported, handles
from .values import Constant, Value, finite


def _part(importer: Importer, value: Any, mask: torch.Tensor) -> Any:
    """value where `mask`, else 0."""
    if isinstance(value, Value):
        return value if bool(mask.all()) else binary(importer, "mul", value, importer.made(mask.float()))
    tensor = value.tensor if isinstance(value, Constant) else torch.tensor(float(value))
    return importer.made(torch.where(mask, finite(tensor), torch.zeros(())))


def choose(importer: Importer, mask: torch.Tensor, one: Any, other: Any) -> Value:
    """`one` where the mask is true, `other` elsewhere; at least one of them is an activation."""
    first, second = _part(importer, one, mask), _part(importer, other, ~mask)
    for part, value in ((first, second), (second, first)):
        if isinstance(part, Constant) and not part.tensor.any() and isinstance(value, Value):
            return value
    return binary(importer, "add", first, second)


def _mask(value: Any) -> torch.Tensor:
    return parameter(value, "mask").tensor.bool()


@handles("masked_fill")
def masked_fill(importer: Importer, a: Mapping[str, Any]) -> Value:
    fill = a["value"] if isinstance(a["value"], int | float) else parameter(a["value"], "value")
    if not isinstance(a["self"], Value):
        raise Unsupported("its mask is computed at run time; make it a parameter or buffer")
    return choose(importer, _mask(a["mask"]), fill, a["self"])


@handles("where")
def where(importer: Importer, a: Mapping[str, Any]) -> Value:
    return choose(importer, _mask(a["condition"]), a["self"], a["other"])

"""Tensors of one value, as large as the batch: constants of one sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .context import Importer
from .registry import Unsupported, handles
from .values import Constant

LIKE = {"zeros_like": 0.0, "ones_like": 1.0, "full_like": None}
SIZED = {"zeros": 0.0, "ones": 1.0, "full": None, "new_zeros": 0.0, "new_ones": 1.0, "new_full": None}
"""The value that each operator fills in; None: its argument."""


def _filled(importer: Importer, sizes: Sequence[Any], value: Any) -> Constant:
    assert importer.current is not None, "set by the walk over the program"
    if isinstance(value, Constant) and value.tensor.numel() == 1:
        value = value.tensor.item()
    if not isinstance(value, int | float):
        raise Unsupported("its value is computed at run time; use a number")
    places = [place for place, size in enumerate(sizes) if not isinstance(size, int)]
    if len(places) > 1 or not all(importer.is_batch(sizes[place]) for place in places):
        raise Unsupported("its size depends on more than the number of samples; use numbers for the other axes")
    if not places and sizes and importer.is_batch(sizes[0]):
        places = [0]
    shape = [1 if place in places else size for place, size in enumerate(sizes)]
    return importer.made(torch.full(shape, value, dtype=importer.current.meta["val"].dtype))


def _register(name: str, value: float | None, argument: str) -> None:
    @handles(name)
    def fill(importer: Importer, a: Mapping[str, Any]) -> Constant:
        assert importer.current is not None, "set by the walk over the program"
        given = a[argument] if value is None else value
        return _filled(importer, list(importer.current.meta["val"].shape), given)


for _name, _value in (LIKE | SIZED).items():
    _register(_name, _value, "fill_value")

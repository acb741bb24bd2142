"""Operators that leave values as they are at inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .context import Importer
from .registry import Unsupported, handles
from .values import Constant, Value


@handles("contiguous", "clone", "detach", "detach_copy", "alias", "lift_fresh_copy", "lift_fresh", "positive")
def same(importer: Importer, a: Mapping[str, Any]) -> Any:
    return a["self"]


@handles("copy")
def copy(importer: Importer, a: Mapping[str, Any]) -> Value:
    """What assigning to a whole slice becomes."""
    x, source = a["self"], a["src"]
    if not isinstance(source, Value) or importer.shape(source) != importer.shape(x):
        raise Unsupported("it assigns a constant, or values of another shape, to a slice; concatenate instead")
    return source


@handles("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout")
def dropout(importer: Importer, a: Mapping[str, Any]) -> Any:
    if a["train"]:
        raise Unsupported("dropout in training mode; use nn.Dropout, or F.dropout(..., training=self.training)")
    assert importer.current is not None, "set by the walk over the program"
    x = a["input"] if "input" in a else a["self"]
    return [x] if isinstance(importer.current.meta.get("val"), tuple | list) else x


@handles("to", "_to_copy", "type_as", "float")
def to(importer: Importer, a: Mapping[str, Any]) -> Value | Constant:
    assert importer.current is not None, "set by the walk over the program"
    dtype = importer.current.meta["val"].dtype
    if isinstance(a["self"], Constant):
        return importer.made(a["self"].tensor.to(dtype))
    if dtype != torch.float32:
        raise Unsupported("it leaves float32; convert the module with .float()")
    return a["self"]

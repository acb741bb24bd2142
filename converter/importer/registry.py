"""The table of handlers: which function converts which ATen operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .context import Importer

Handler = Callable[["Importer", Mapping[str, Any]], Any]

HANDLERS: dict[str, Handler] = {}
"""Handler by ATen name without namespace, overload and the underscore of in-place variants ("conv2d", "relu")."""


class Unsupported(Exception):
    """Raised by a handler for arguments it cannot convert. The message is the reason and what to do about it."""


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register a function `(importer, arguments by schema name) -> Value | Constant | list` for ATen operators."""

    def register(handler: Handler) -> Handler:
        for name in names:
            HANDLERS[name] = handler
        return handler

    return register


def operator_name(target: Any) -> str:
    """Key in HANDLERS of an fx target; for anything that is no ATen operator, a readable name."""
    if isinstance(target, torch._ops.OpOverload):
        name = target._schema.name.split("::")[-1]
        return name[:-1] if name.endswith("_") and not name.endswith("__") else name
    return getattr(target, "__name__", str(target))

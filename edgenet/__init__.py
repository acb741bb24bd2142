"""edgenet: convolutional networks on the CPUs of laptops and Raspberry Pis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgenet.errors import ConversionError, EdgenetError, EngineError, InputError, ModelFormatError

if TYPE_CHECKING:
    from edgenet.graph import Graph, Preprocessing
    from edgenet.model import Model, load

__version__ = "0.1.0"
__all__ = [
    "ConversionError",
    "EdgenetError",
    "EngineError",
    "Graph",
    "InputError",
    "Model",
    "ModelFormatError",
    "Preprocessing",
    "load",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name in ("Model", "load"):
        from edgenet import model

        return getattr(model, name)
    if name in ("Graph", "Preprocessing"):
        from edgenet import graph

        return getattr(graph, name)
    raise AttributeError(f"module 'edgenet' has no attribute {name!r}")

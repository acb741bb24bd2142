"""A module from a function, and the operations that its graph uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from edgenet.graph import Graph


class Apply(nn.Module):
    """forward(*inputs) is `function(self, *inputs)`; layers given by keyword are submodules or parameters."""

    def __init__(self, function: Callable[..., Any], **layers: Any):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self._function = function

    def forward(self, *inputs):
        return self._function(self, *inputs)


class One(nn.Module):
    """forward(x) is `function(x)`."""

    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        self._function = function

    def forward(self, x):
        return self._function(x)


def operations(graph: Graph) -> list[str]:
    return [node.operation for node in graph.nodes]

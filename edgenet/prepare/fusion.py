"""Rewrites of the graph that belong to the CPU that runs it, before its nodes are lowered."""

from __future__ import annotations

from edgenet.graph import Graph, Tensor
from edgenet.kernels.isa import InstructionSet


def fuse(graph: Graph, tensors: dict[str, Tensor], target: InstructionSet) -> Graph:
    """The graph to lower. `tensors` have concrete shapes."""
    return graph

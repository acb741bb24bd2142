"""Compute what depends on constants alone, with the operations' own reference arithmetic."""

from __future__ import annotations

from edgenet import reference
from edgenet.graph import Graph, Node

from .rewrite import Index, remove, sweep


def _rule(graph: Graph, index: Index, node: Node) -> bool:
    if node.output in graph.outputs or any(name not in graph.constants for name in node.inputs.values()):
        return False
    alone = Graph(graph.tensors, graph.constants, [node], [], [node.output])
    graph.constants[node.output] = reference.run(alone, {})[node.output]
    remove(graph, node)
    return True


def fold_constants(graph: Graph) -> int:
    """Turn every node on constants alone into a constant of its output's name; the number of nodes folded."""
    return sweep(graph, _rule)

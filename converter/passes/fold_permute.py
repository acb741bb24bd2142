"""Fold the permute before flatten and linear into the weights: the flatten then reads channels-last elements."""

from __future__ import annotations

import numpy as np

from edgenet.graph import Graph, Node

from .rewrite import Index, set_constant, sweep


def _rule(graph: Graph, index: Index, node: Node) -> bool:
    permute = index.producer(node.inputs.get("x", ""))
    if node.operation not in ("flatten", "reshape") or permute is None or permute.operation != "permute":
        return False
    shape = graph.tensors[permute.output].shape
    if graph.tensors[node.output].shape != (shape[0], int(np.prod(shape[1:]))) or node.output in graph.outputs:
        return False
    readers = index.readers[node.output]
    if not readers or any(r.operation != "linear" or r.inputs.get("residual") == node.output for r in readers):
        return False
    order = permute.attributes["order"]
    back = [order.index(axis) for axis in range(1, len(order))]
    for linear in readers:
        weight = graph.constants[linear.inputs["weight"]]
        stored = weight.reshape(weight.shape[0], *shape[1:]).transpose(0, *back)
        set_constant(graph, linear, "weight", stored.reshape(weight.shape))
    node.inputs["x"] = permute.inputs["x"]
    return True


def fold_permute(graph: Graph) -> int:
    """Reorder the weights of every linear layer behind permute and flatten; the number of permutes passed by."""
    return sweep(graph, _rule)

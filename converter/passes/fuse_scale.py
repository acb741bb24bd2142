"""Move a multiplication or division by one number into the matmul before it, or behind it across moves."""

from __future__ import annotations

import math

import numpy as np

from edgenet.graph import Graph, Node

from .rewrite import Index, bypass, sweep

_MOVES = ("reshape", "flatten", "permute", "slice")


def _factor(graph: Graph, node: Node | None) -> tuple[str, float] | None:
    """(x, number) of a node that multiplies its input x by a number of its own; None for another."""
    if node is None or node.operation not in ("mul", "div") or node.attributes.get("activation"):
        return None
    x, constant = node.inputs["a"], node.inputs["b"]
    if node.operation == "mul" and x in graph.constants:
        x, constant = constant, x
    if x in graph.constants or constant not in graph.constants or graph.constants[constant].size != 1:
        return None
    if graph.tensors[x].shape != graph.tensors[node.output].shape:
        return None
    number = float(graph.constants[constant].reshape(-1)[0])
    if node.operation == "div":
        number = 1 / number if number else math.inf
    return x, number


def _scaled(graph: Graph, index: Index, matmul: Node, factor: Node, number: float, source: str) -> bool:
    scale = float(np.float32(matmul.attributes.get("scale", 1.0) * number))
    if not math.isfinite(scale) or (number and abs(scale) < np.finfo(np.float32).tiny):
        return False
    if not bypass(graph, index, factor, source):
        return False
    matmul.attributes["scale"] = scale
    return True


def _rule(graph: Graph, index: Index, node: Node) -> bool:
    found = _factor(graph, node)
    before = index.producer(found[0]) if found else None
    if found and before is not None and before.operation == "matmul" and index.private(before.output):
        return _scaled(graph, index, before, node, found[1], found[0])
    if node.operation != "matmul" or node.inputs["a"] == node.inputs["b"]:
        return False
    for name in node.inputs.values():
        producer = index.producer(name)
        while producer is not None and producer.operation in _MOVES and index.private(name):
            name = producer.inputs["x"]
            producer = index.producer(name)
        found = _factor(graph, producer)
        if found and producer is not None and index.private(name):
            return _scaled(graph, index, node, producer, found[1], found[0])
    return False


def fuse_scale(graph: Graph) -> int:
    """Let every matmul whose input or output is multiplied by one number do that itself; the number of nodes saved."""
    return sweep(graph, _rule)

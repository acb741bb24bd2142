"""Recognise activations that are written out: x * sigmoid(x), clamp(x + 3, 0, 6) / 6, x * tanh(softplus(x)), ..."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgenet.graph import Graph, Node

from .rewrite import Index, sweep

GATED = {"sigmoid": "silu", "hardsigmoid": "hardswish"}
"""x * gate(x), by the gate's kind."""


def _kind(node: Node | None) -> str:
    return node.attributes["activation"]["kind"] if node is not None and node.operation == "activation" else ""


def _number(graph: Graph, name: str) -> float | None:
    """The value of a constant that holds one number over and over."""
    array = graph.constants.get(name)
    if array is None or array.size == 0 or (array != array.flat[0]).any():
        return None
    return float(array.flat[0])


def _operands(graph: Graph, node: Node) -> tuple[str, float] | None:
    """(activation, number) of arithmetic with one number; for `div` only as divisor."""
    if node.operation not in ("add", "mul", "div") or node.attributes.get("activation"):
        return None
    a, b = node.inputs["a"], node.inputs["b"]
    pairs = [(a, _number(graph, b))] + ([] if node.operation == "div" else [(b, _number(graph, a))])
    shape = graph.tensors[node.output].shape
    return next(((x, n) for x, n in pairs if n is not None and graph.tensors[x].shape == shape), None)


def _sixth(graph: Graph, node: Node) -> str | None:
    """The tensor that `node` divides by 6."""
    found = _operands(graph, node)
    if found is None or node.operation == "add":
        return None
    factor = found[1] if node.operation == "mul" else 1 / found[1] if found[1] else 0.0
    return found[0] if np.isclose(factor, 1 / 6, rtol=1e-6) else None


def _shifted_clamp(graph: Graph, index: Index, name: str) -> str | None:
    """x where tensor `name` is clamp(x + 3, 0, 6)."""
    clamp = index.producer(name)
    if clamp is None or _kind(clamp) != "clamp":
        return None
    bounds = clamp.attributes["activation"]
    shift = index.producer(clamp.inputs["x"])
    if (bounds["min"], bounds["max"]) != (0, 6) or shift is None or shift.operation != "add":
        return None
    found = _operands(graph, shift)
    return found[0] if found and found[1] == 3 else None


def _product(graph: Graph, index: Index, name: str) -> str | None:
    """x where tensor `name` is x * clamp(x + 3, 0, 6)."""
    node = index.producer(name)
    if node is None or node.operation != "mul" or node.attributes.get("activation"):
        return None
    a, b = node.inputs["a"], node.inputs["b"]
    return next((x for x, gate in ((a, b), (b, a)) if _shifted_clamp(graph, index, gate) == x), None)


def _gated(index: Index, x: str, gate: str) -> str | None:
    """Kind of the activation x * gate, when `gate` is a function of x."""
    node = index.producer(gate)
    if node is None or node.operation != "activation":
        return None
    if node.inputs["x"] == x:
        return GATED.get(_kind(node))
    inner = index.producer(node.inputs["x"])
    if _kind(node) == "tanh" and inner is not None and _kind(inner) == "softplus" and inner.inputs["x"] == x:
        return "mish"
    return None


def _match(graph: Graph, index: Index, node: Node) -> tuple[str, str] | None:
    """(x, kind) of the activation that ends in `node`."""
    scaled = _sixth(graph, node)
    if scaled is not None:
        x = _shifted_clamp(graph, index, scaled)
        if x is not None:
            return x, "hardsigmoid"
        x = _product(graph, index, scaled)
        return None if x is None else (x, "hardswish")
    if node.operation != "mul" or node.attributes.get("activation"):
        return None
    a, b = node.inputs["a"], node.inputs["b"]
    for x, gate in ((a, b), (b, a)):
        kind = _gated(index, x, gate)
        if kind:
            return x, kind
    return None


def _rule(graph: Graph, index: Index, node: Node) -> bool:
    found = _match(graph, index, node)
    if found is None:
        return False
    activation: dict[str, Any] = {"kind": found[1]}
    node.operation, node.inputs, node.attributes = "activation", {"x": found[0]}, {"activation": activation}
    return True


def fuse_gate(graph: Graph) -> int:
    """Replace the last node of every such expression by one activation; the number replaced."""
    return sweep(graph, _rule)

"""Builds small graphs node by node, and checks that a pass keeps what they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgenet import reference
from edgenet.converter.passes.rewrite import check, copy_graph
from edgenet.dtypes import BATCH
from edgenet.graph import Graph, Node, Tensor
from edgenet.ops import node_types, operation, with_defaults

RELU = {"kind": "clamp", "min": 0.0, "max": None}
RELU6 = {"kind": "clamp", "min": 0.0, "max": 6.0}


class Builder:
    """A graph under construction; constants are drawn from a seeded generator."""

    def __init__(self, *shape: int, seed: int = 0):
        self.graph = Graph()
        self.random = np.random.default_rng(seed)
        self.input("x", *shape)

    def input(self, name: str, *shape: int) -> str:
        self.graph.tensors[name] = Tensor(name, (BATCH, *shape))
        self.graph.inputs.append(name)
        return name

    def constant(self, name: str, *shape: int) -> str:
        return self.graph.add_constant(name, (self.random.standard_normal(shape) + 0.2).astype(np.float32))

    def node(self, kind: str, name: str, inputs: dict[str, str], **attributes: Any) -> str:
        node = Node(kind, name, inputs, self.graph.unique_name(name), attributes)
        shape = operation(node).infer(with_defaults(node), node_types(self.graph, node))
        self.graph.tensors[node.output] = Tensor(node.output, tuple(shape))
        self.graph.nodes.append(node)
        return node.output

    def conv(self, name: str, x: str, filters: int, kernel: int = 1, bias: bool = True, **attributes: Any) -> str:
        depth = self.graph.tensors[x].shape[-1] // attributes.get("groups", 1)
        inputs = {"x": x, "weight": self.constant(f"{name}.weight", filters, kernel, kernel, depth)}
        if bias:
            inputs["bias"] = self.constant(f"{name}.bias", filters)
        return self.node("conv2d", name, inputs, **attributes)

    def linear(self, name: str, x: str, features: int, bias: bool = True) -> str:
        inputs = {"x": x, "weight": self.constant(f"{name}.weight", features, self.graph.tensors[x].shape[-1])}
        if bias:
            inputs["bias"] = self.constant(f"{name}.bias", features)
        return self.node("linear", name, inputs)

    def batch_norm(self, name: str, x: str, shift: bool = True) -> str:
        channels = self.graph.tensors[x].shape[-1]
        return self.conv(name, x, channels, bias=shift, groups=channels)

    def activation(self, name: str, x: str, kind: dict[str, Any] | None = None) -> str:
        return self.node("activation", name, {"x": x}, activation=kind or RELU)

    def finish(self, *outputs: str) -> Graph:
        self.graph.outputs = list(outputs)
        check(self.graph)
        return self.graph


def outputs(graph: Graph, batch: int = 2) -> list[np.ndarray]:
    """The oracle's outputs for seeded inputs."""
    random = np.random.default_rng(1)
    inputs = {n: random.standard_normal(graph.tensors[n].concrete(batch)).astype(np.float32) for n in graph.inputs}
    results = reference.run(graph, inputs)
    return [results[name] for name in graph.outputs]


def operations(graph: Graph) -> list[str]:
    return [node.operation for node in graph.nodes]


def apply(rewrite: Callable[[Graph], int], graph: Graph, count: int) -> Graph:
    """The graph after `rewrite`, which must report `count`, stay valid, and change neither `graph` nor its results."""
    before, names = operations(graph), list(graph.outputs)
    arrays = {name: array.copy() for name, array in graph.constants.items()}
    expected = outputs(graph)
    result = copy_graph(graph)
    assert rewrite(result) == count
    check(result)
    assert result.outputs == names
    assert result.inputs == graph.inputs
    for got, want in zip(outputs(result), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * float(np.abs(want).max()))
    assert operations(graph) == before
    assert all(np.array_equal(array, graph.constants[name]) for name, array in arrays.items())
    return result

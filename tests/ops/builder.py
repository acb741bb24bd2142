"""Builds one-node graphs for the tests of operations."""

from __future__ import annotations

import numpy as np

from edgenet import reference
from edgenet.graph import Graph, Node, Quantization, Tensor
from edgenet.ops import infer_shapes, node_types, validate_node


def one_node(operation, arrays, attributes=None, *, constants=(), quantization=None, output=None, dtype=None):
    """Graph of one validated node. `quantization` gives (scale, zero_point) by role, `output` that of the result."""
    graph, quantization = Graph(), quantization or {}
    inputs = {}
    for role, array in arrays.items():
        q = Quantization((quantization[role][0],), quantization[role][1]) if role in quantization else None
        if role in constants:
            inputs[role] = graph.add_constant(role, array, q)
            continue
        graph.tensors[role] = Tensor(role, array.shape, array.dtype.name, q)
        graph.inputs.append(role)
        inputs[role] = role
    result = Quantization((output[0],), output[1]) if output else None
    dtype = dtype or ("int8" if output else "float32")
    graph.tensors["y"] = Tensor("y", (), dtype, result)
    graph.nodes.append(Node(operation, "node", inputs, "y", attributes or {}))
    graph.outputs.append("y")
    graph.tensors["y"] = infer_shapes(graph)["y"]
    validate_node(graph.nodes[0], node_types(graph, graph.nodes[0]), graph.tensors["y"], graph.constants)
    return graph


def run(operation, arrays, attributes=None, **options):
    """Reference result of one node."""
    graph = one_node(operation, arrays, attributes, **options)
    return reference.run(graph, {name: arrays[name] for name in graph.inputs})["y"]


def nhwc(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))

"""The oracle: runs any Graph with the operations' plain NumPy arithmetic. Clear, never optimised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgenet.graph import Graph
from edgenet.ops import constant_value, infer_shapes, operation, with_defaults


def run(graph: Graph, inputs: Mapping[str, np.ndarray], keep: bool = False) -> dict[str, np.ndarray]:
    """Outputs of the graph by name (with `keep`, every activation) for input arrays of the declared ranks.

    Sizes may differ from the declared ones where the network allows it. Raises OperationError where it does not.
    """
    types = infer_shapes(graph, {name: tuple(inputs[name].shape) for name in graph.inputs})
    values: dict[str, np.ndarray] = {name: np.asarray(inputs[name]) for name in graph.inputs}
    for node in graph.nodes:
        first = types[next(iter(node.inputs.values()))]
        arrays, roles = {}, {}
        for role, name in node.inputs.items():
            roles[role] = types[name]
            if name not in graph.constants:
                arrays[role] = values[name]
            elif first.dtype == "float32":
                arrays[role] = constant_value(graph, name)
                roles[role] = replace(types[name], dtype="float32", quantization=None)
            else:
                arrays[role] = graph.constants[name]
        output = types[node.output]
        with np.errstate(over="ignore", invalid="ignore"):
            result = operation(node).reference(with_defaults(node), arrays, roles, output)
        values[node.output] = np.ascontiguousarray(result)
    return values if keep else {name: values[name] for name in graph.outputs}

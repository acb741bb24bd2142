"""Imports a module and compares the oracle with torch, at the example's batch and at another."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgenet import reference
from edgenet.converter.importer import import_module
from edgenet.graph import Graph
from edgenet.ops import node_types, validate_node


def validate(graph: Graph) -> None:
    """Every node passes the checks that a loader makes."""
    for node in graph.nodes:
        validate_node(node, node_types(graph, node), graph.tensors[node.output], graph.constants)


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference relative to the largest magnitude expected."""
    assert got.shape == expected.shape, (got.shape, expected.shape)
    assert got.dtype == expected.dtype, (got.dtype, expected.dtype)
    return float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-6))


def torch_outputs(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    """Outputs of the module in eval mode, flattened into a list."""
    module.eval()
    with torch.no_grad():
        result = module(*(x.clone() for x in inputs))
    parts = result.values() if isinstance(result, dict) else result if isinstance(result, tuple | list) else [result]
    return [part.numpy() for part in parts]


def agreement(graph: Graph, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> float:
    """Largest relative error of the oracle's outputs against torch."""
    got = reference.run(graph, {name: x.numpy() for name, x in zip(graph.inputs, inputs, strict=True)})
    expected = torch_outputs(module, inputs)
    assert len(expected) == len(graph.outputs)
    return max(relative_error(got[name], want) for name, want in zip(graph.outputs, expected, strict=True))


def check(
    module: nn.Module, *shapes: tuple[int, ...], batches: tuple[int, ...] = (1, 3), tolerance: float = 1e-4
) -> Graph:
    """Import `module` with inputs of `shapes` (without the batch), compare for each batch, return the graph."""
    torch.manual_seed(0)
    graph = import_module(module, tuple(torch.randn(1, *shape) for shape in shapes))
    validate(graph)
    for batch in batches:
        error = agreement(graph, module, tuple(torch.randn(batch, *shape) for shape in shapes))
        assert error < tolerance, f"batch {batch}: relative error {error:.2e}"
    return graph

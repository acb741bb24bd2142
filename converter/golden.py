"""The golden pair: an input and the oracle's output for it, kept in the file so that any machine can check itself."""

from __future__ import annotations

import numpy as np

from edgenet import reference
from edgenet.dtypes import BATCH
from edgenet.errors import ModelFormatError
from edgenet.graph import Graph
from edgenet.validate import at_sizes

SIZES = (32, 48, 64, 96, 128)
"""Heights and widths tried, smallest first, for pictures larger than that: the pair must not swell the file."""


def golden_shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Input shapes, batch 1, for the golden pair: small pictures if the outputs keep their shapes, else declared."""
    declared = {name: (1, *graph.tensors[name].shape[1:]) for name in graph.inputs}
    outputs = {name: (1, *graph.tensors[name].shape[1:]) for name in graph.outputs}
    for size in SIZES:
        smaller = {
            name: (*shape[:2], min(size, shape[2]), min(size, shape[3])) if len(shape) == 4 else shape
            for name, shape in declared.items()
        }
        try:
            tensors = at_sizes(graph, smaller).tensors
        except ModelFormatError:
            continue
        if all(tensors[name].shape == shape for name, shape in outputs.items()):
            return smaller
    return declared


def golden_inputs(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Standard normal float32 inputs of `golden_shapes`; the same on every machine."""
    generator = np.random.default_rng(seed)
    return {name: generator.standard_normal(shape, dtype=np.float32) for name, shape in golden_shapes(graph).items()}


def add_golden_pair(graph: Graph) -> None:
    """Store `golden_inputs` and the oracle's outputs in the graph's constants and metadata."""
    assert all(graph.tensors[name].shape[0] == BATCH for name in graph.inputs), "the importer declares the batch"
    inputs = golden_inputs(graph)
    outputs = reference.run(graph, inputs)
    metadata = graph.metadata
    metadata.golden_inputs = {name: graph.add_constant(f"golden.{name}", x) for name, x in inputs.items()}
    metadata.golden_outputs = {name: graph.add_constant(f"golden.{name}", y) for name, y in outputs.items()}

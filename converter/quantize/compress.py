"""`compress`: compact storage of the weights of a network that runs in float32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgenet.converter.passes.rewrite import copy_graph
from edgenet.errors import ConversionError
from edgenet.graph import Graph, Quantization

from .weights import symmetric

LAYERS = {"conv2d", "linear", "conv_transpose2d"}
LARGEST_FLOAT16 = 65504.0


def compress(graph: Graph, storage: str) -> Graph:
    """A copy whose layers' weights are stored as "int8" (symmetric, a scale for each output channel) or "float16".

    The network still runs in float32, on the decompressed weights; biases and all else stay as they are. int8 leaves
    weights alone that it would not make smaller. Golden outputs are dropped: they belong to the uncompressed weights.
    Raises ConversionError for another storage, or weights beyond the range of float16.
    """
    if storage not in ("int8", "float16"):
        raise ConversionError(f"Weights cannot be stored as {storage!r}. Choose int8 or float16.")
    result = copy_graph(graph)
    result.metadata.golden_inputs, result.metadata.golden_outputs = {}, {}
    for name in sorted(_weights(result)):
        array = result.constants[name]
        if array.dtype != np.float32:
            continue
        if storage == "float16":
            if np.abs(array).max() > LARGEST_FLOAT16:
                raise ConversionError(f"{name} holds weights beyond 65504, the largest float16. Choose int8.")
            _replace(result, name, array.astype(np.float16), None)
        elif array.size > 4 * len(array):
            stored, scale = symmetric(array)
            _replace(result, name, stored, Quantization(tuple(float(s) for s in scale), 0, 0))
    _drop_unused(result)
    return result


def _weights(graph: Graph) -> set[str]:
    """Constants that are read as weights of float32 layers and as nothing else."""
    used: dict[str, set[bool]] = {}
    for node in graph.nodes:
        float32 = graph.tensors[node.inputs["x"]].dtype == "float32" if "x" in node.inputs else False
        for role, name in node.inputs.items():
            weight = node.operation in LAYERS and role == "weight" and float32
            used.setdefault(name, set()).add(weight)
    return {name for name, kinds in used.items() if kinds == {True} and name in graph.constants}


def _replace(graph: Graph, name: str, array: np.ndarray, quantization: Quantization | None) -> None:
    graph.constants[name] = np.ascontiguousarray(array)
    graph.tensors[name] = replace(
        graph.tensors[name], dtype=array.dtype.name, quantization=quantization, shape=tuple(array.shape)
    )


def _drop_unused(graph: Graph) -> None:
    read = {name for node in graph.nodes for name in node.inputs.values()}
    for name in [name for name in graph.constants if name not in read]:
        del graph.constants[name]
        graph.tensors.pop(name)

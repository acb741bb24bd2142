"""A plan's memory is bounded: scratch and padded copies count, which the activations of a file do not tell."""

from __future__ import annotations

import numpy as np
import pytest

from edgenet.errors import InputError, ModelFormatError
from edgenet.graph import Graph, Node, Quantization, Tensor
from edgenet.kernels.isa import host
from edgenet.ops import infer_shapes
from edgenet.prepare import memory_limits
from edgenet.prepare.prepare import prepare
from edgenet.validate import validate
from tests.engine.networks import separable


def tall_kernel() -> Graph:
    """An int8 depthwise convolution of one pixel: every thread widens as many rows as the kernel has."""
    graph, rows = Graph({"x": Tensor("x", (-1, 1, 1, 2))}, inputs=["x"], outputs=["y"]), 33_000
    constants = {"weight": np.ones((2, rows, 1, 1), np.int8), "bias": np.zeros(2, np.int32)}
    constants["multiplier"] = np.ones(2, np.float32)
    inputs = {role: graph.add_constant(role, array) for role, array in constants.items()}
    padding = {"groups": 2, "padding": [rows - 1, 0, 2000, 2000]}
    graph.nodes = [
        Node("quantize", "q", {"x": "x"}, "q", {"inverse_scale": 1.0}),
        Node("conv2d", "conv", {"x": "q", **inputs}, "conv", padding),
        Node("dequantize", "y", {"x": "conv"}, "y"),
    ]
    graph.tensors |= {name: Tensor(name, (), "int8", Quantization((1.0,), 0)) for name in ("q", "conv")}
    graph.tensors["y"] = Tensor("y", ())
    graph.tensors.update(infer_shapes(graph))
    return graph


def test_scratch_of_all_threads_is_bounded():
    graph = tall_kernel()
    validate(graph)
    with pytest.raises(ModelFormatError, match="bytes, more than the 4294967296"):
        prepare(graph, {"x": (1, 1, 1, 2)}, host(), 64)


def test_inputs_of_another_size_are_to_blame_for_what_they_need(monkeypatch):
    graph = separable()
    most = prepare(graph, {"x": (1, 12, 12, 24)}, host(), 1).arena_bytes
    monkeypatch.setattr(memory_limits, "MOST_ARENA", most)
    prepare(graph, {"x": (1, 12, 12, 24)}, host(), 1)
    with pytest.raises(InputError, match="For inputs of this shape the memory for activations needs"):
        prepare(graph, {"x": (2, 12, 12, 24)}, host(), 1)

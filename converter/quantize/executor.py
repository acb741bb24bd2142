"""Runs a Graph with torch: fast where the oracle is slow. For calibration and for measuring, not for inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from edgenet.dtypes import DTYPES
from edgenet.graph import Graph, Tensor
from edgenet.ops import constant_value, infer_shapes, with_defaults

from .float_ops import FLOAT, Call
from .int8_ops import INT8
from .int8_ops import quantize as quantize_handler

Observer = Callable[[str, torch.Tensor], None]
"""Called with the name and value of each activation (stored layout) as soon as it is computed."""


def run_call(call: Call) -> torch.Tensor:
    """The result of one node."""
    if call.node.operation == "quantize":
        return quantize_handler(call)
    first = next(iter(call.types.values()))
    return (INT8 if first.dtype == "int8" else FLOAT)[call.node.operation](call)


def last_uses(graph: Graph) -> list[list[str]]:
    """For each node, the activations that nothing after it reads."""
    last = {name: i for i, node in enumerate(graph.nodes) for name in (*node.inputs.values(), node.output)}
    released: list[list[str]] = [[] for _ in graph.nodes]
    for name, index in last.items():
        if name not in graph.constants and name not in graph.outputs:
            released[index].append(name)
    return released


class Executor:
    """A graph prepared for torch. float32 results agree with the oracle within rounding, int8 results to the bit."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self._nodes = [with_defaults(node) for node in graph.nodes]
        self._types: dict[tuple[tuple[int, ...], ...], dict[str, Tensor]] = {}
        self._constants: dict[tuple[str, bool], torch.Tensor] = {}
        self._released = last_uses(graph)

    def run(self, inputs: Mapping[str, np.ndarray], observe: Observer | None = None) -> dict[str, np.ndarray]:
        """Outputs by name. `observe` sees every graph input and every node's output."""
        with torch.no_grad():
            return {name: value.numpy() for name, value in self.trace(inputs, observe).items()}

    def trace(self, inputs: Mapping[str, np.ndarray], observe: Observer | None = None) -> dict[str, torch.Tensor]:
        """As `run`, under torch's current gradient mode; `observe` may ask for gradients of a float32 graph."""
        values = self.start(inputs)
        if observe:
            for name in self.graph.inputs:
                observe(name, values[name])
        types = self.types(inputs)
        for index, node in enumerate(self._nodes):
            values[node.output] = run_call(self.call(index, values, types))
            if observe:
                observe(node.output, values[node.output])
            self.release(index, values)
        return {name: values[name] for name in self.graph.outputs}

    def start(self, inputs: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """Values by tensor name before the first node."""
        tensors = self.graph.tensors
        return {
            name: torch.from_numpy(np.array(inputs[name], DTYPES[tensors[name].dtype])) for name in self.graph.inputs
        }

    def call(self, index: int, values: Mapping[str, torch.Tensor], types: Mapping[str, Tensor]) -> Call:
        """The node at `index` with its inputs."""
        node = self._nodes[index]
        int8 = types[next(iter(node.inputs.values()))].dtype == "int8"
        arrays, roles = {}, {}
        for role, name in node.inputs.items():
            constant = name in self.graph.constants
            arrays[role] = self._constant(name, int8) if constant else values[name]
            roles[role] = types[name] if int8 or not constant else replace(types[name], dtype="float32")
        return Call(node, arrays, roles, types[node.output])

    def release(self, index: int, values: dict[str, torch.Tensor]) -> None:
        """Drop the values that no node after `index` reads."""
        for name in self._released[index]:
            values.pop(name, None)

    def set_constant(self, name: str, array: np.ndarray) -> None:
        """Give a constant of the graph another value of the same type."""
        self.graph.constants[name] = array
        self._constants.pop((name, True), None)
        self._constants.pop((name, False), None)

    def types(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """All tensors with the shapes that follow from the inputs'."""
        shapes = {name: tuple(inputs[name].shape) for name in self.graph.inputs}
        key = tuple(shapes.values())
        if key not in self._types:
            self._types[key] = infer_shapes(self.graph, shapes)
        return self._types[key]

    def _constant(self, name: str, int8: bool) -> torch.Tensor:
        """A constant as stored for int8 nodes, decompressed to float32 for others."""
        key = (name, int8)
        if key not in self._constants:
            array: np.ndarray[Any, Any] = self.graph.constants[name] if int8 else constant_value(self.graph, name)
            self._constants[key] = torch.from_numpy(np.array(array))
        return self._constants[key]

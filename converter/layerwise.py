"""Runs the layers of a converted graph beside those of the float32 graph it came from, one by one and in a chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgenet.errors import ConversionError
from edgenet.graph import Graph, Node, Tensor

from .comparison import Deviation, Row, make_row
from .samples import Sample

CHANGES = ("quantize", "dequantize", "requantize")
"""Operations whose output stands for the same values as their input."""


def _real(value: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Stored values as float32."""
    quantization = tensor.quantization
    if value.dtype != np.int8 or quantization is None:
        return value
    return (value.astype(np.float32) - quantization.zero_point) * np.float32(quantization.scale[0])


def _clipped(values: np.ndarray, tensor: Tensor) -> int:
    """How many values lie more than half a step beyond what an int8 tensor holds."""
    if tensor.dtype != "int8" or tensor.quantization is None:
        return 0
    scale, zero = tensor.quantization.scale[0], tensor.quantization.zero_point
    low, high = (-128.5 - zero) * scale, (127.5 - zero) * scale
    return int(np.count_nonzero((values < low) | (values > high)))


class Layers:
    """Runs the float32 graph and the model on the same samples, and the model's layers one by one.

    Channels that the model holds multiplied by a factor (see `quantize.equalization`) are compared in the reference's
    own units. `factors` by tensor name: default, those that the file records.
    """

    def __init__(self, graph: Graph, reference: Graph, factors: Mapping[str, np.ndarray] | None = None):
        from .quantize.executor import Executor
        from .quantize.factors import from_texts
        from .quantize.split import split_activations

        self.graph, self.reference = graph, split_activations(reference)
        self.factors = from_texts(graph.metadata.provenance) if factors is None else factors
        self.wanted, self.whole = Executor(self.reference), Executor(graph)
        self.twins = self._twins()
        self.nodes = [n for n in graph.nodes if n.operation != "dequantize" and n.output in self.twins]
        self.nodes = [n for n in self.nodes if all(name in self.twins for name in self._activations(n))]
        if not any(node.operation not in CHANGES for node in self.nodes):
            raise ConversionError("The model was not converted from this module: no layer of the same name is in both.")
        self.alone = {node.output: Executor(self._one(node)) for node in self.nodes}
        self.isolated = {node.output: Deviation() for node in self.nodes}
        self.cumulative = {node.output: Deviation() for node in self.nodes}
        self.clipped = {node.output: 0 for node in self.nodes}

    def _activations(self, node: Node) -> list[str]:
        return [name for name in dict.fromkeys(node.inputs.values()) if name not in self.graph.constants]

    def _twins(self) -> dict[str, str]:
        """Tensor of the reference that holds the same values, by the model's tensor."""
        reference = self.reference
        twins = {n: n for n in self.graph.inputs if n in reference.inputs}
        for node in self.graph.nodes:
            found = reference.tensors.get(node.output)
            if found is not None and found.shape == self.graph.tensors[node.output].shape:
                twins[node.output] = node.output
            elif node.operation in CHANGES and node.inputs["x"] in twins:
                twins[node.output] = twins[node.inputs["x"]]
        return twins

    def _scaled(self, name: str, wanted: np.ndarray) -> np.ndarray:
        """Values of the reference in the units of the model's tensor `name`."""
        factors = self.factors.get(self.twins[name])
        return wanted if factors is None else (wanted * factors).astype(np.float32)

    def _values(self, name: str, stored: np.ndarray) -> np.ndarray:
        """What is stored in the model's tensor `name`, as float32 in the units of the reference."""
        real, factors = _real(stored, self.graph.tensors[name]), self.factors.get(self.twins[name])
        return real if factors is None else (real / factors).astype(np.float32)

    def _one(self, node: Node) -> Graph:
        """The graph of one node alone."""
        graph = self.graph
        return Graph(graph.tensors, graph.constants, [node], self._activations(node), [node.output])

    def add(self, sample: Sample) -> dict[str, np.ndarray]:
        """Take in one sample; the outputs of the whole model."""
        from edgenet.ops.arithmetic import quantize_array

        wanted: dict[str, np.ndarray] = {}
        self.wanted.run(sample, lambda name, value: wanted.update({name: value.numpy()}))

        def observe(name: str, value: Any) -> None:
            if name in self.cumulative:
                self.cumulative[name].add(self._values(name, value.numpy()), wanted[self.twins[name]])

        outputs = self.whole.run(sample, observe)
        for node in self.nodes:
            stored = {}
            for name in self._activations(node):
                tensor, value = self.graph.tensors[name], self._scaled(name, wanted[self.twins[name]])
                quantization = tensor.quantization if tensor.dtype == "int8" else None
                stored[name] = value if quantization is None else quantize_array(value, quantization)
            got = self.alone[node.output].run(stored)[node.output]
            want = wanted[self.twins[node.output]]
            self.isolated[node.output].add(self._values(node.output, got), want)
            self.clipped[node.output] += _clipped(self._scaled(node.output, want), self.graph.tensors[node.output])
        return outputs

    def rows(self) -> list[Row]:
        rows = []
        for position, node in enumerate(self.nodes):
            tensor = self.graph.tensors[node.output]
            alone, chain = self.isolated[node.output], self.cumulative[node.output]
            clipped = self.clipped[node.output] / max(alone.count, 1) if tensor.dtype == "int8" else None
            rows.append(make_row(node, position, list(tensor.shape), clipped, alone, chain))
        return rows

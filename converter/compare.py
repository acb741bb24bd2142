"""`compare`: layer by layer, how far a converted network lies from the PyTorch module it came from."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from edgenet.errors import ConversionError
from edgenet.graph import Graph, Node, Tensor

from .comparison import Comparison, Deviation, Row, make_row, sort_rows
from .conversion import require_torch
from .samples import Sample, calibration_samples

if TYPE_CHECKING:
    from torch import nn

CHANGES = ("quantize", "dequantize", "requantize")
"""Operations whose output stands for the same values as their input."""


def compare(
    module: nn.Module,
    model: Any,
    inputs: Any,
    reference: Graph | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Comparison:
    """Compare every layer of `model` (an edgenet Model, a Graph, or the path of an .edgenet file) with `module`.

    `inputs` are taken as calibration data is: a folder of images, a list of images or arrays, a batch, an iterable of
    tensors; a tuple of arrays is one sample of a network with several inputs. The values wanted of each layer are those
    of `reference`, the float32 graph of the same module, which is imported when not given; layers are matched by name.
    The outputs are compared with what the module itself returns. Raises ConversionError.
    """
    require_torch()
    graph = _graph(model)
    single = isinstance(inputs, tuple) and 1 < len(graph.inputs) == len(inputs) and hasattr(inputs[0], "shape")
    samples = calibration_samples(graph, [inputs] if single else inputs, graph.metadata.preprocessing)
    if reference is None:
        reference = _import(module, samples[0])
    layers = _Layers(graph, reference)
    outputs = _Outputs(module, model, graph)
    for done, sample in enumerate(samples):
        if progress:
            progress("compare", done, len(samples))
        outputs.add(sample, layers.add(sample))
    if progress:
        progress("compare", len(samples), len(samples))
    name = graph.metadata.provenance.get("name", type(module).__name__)
    title = f"{name}: {len(samples)} samples, {len(layers.rows())} layers, worst first"
    return Comparison(sort_rows(layers.rows()), outputs.rows(), len(samples), title)


def _graph(model: Any) -> Graph:
    if isinstance(model, Graph):
        return model
    if isinstance(model, str | PathLike):
        from edgenet.format import load

        return load(model)
    if isinstance(getattr(model, "graph", None), Graph):
        return model.graph
    raise ConversionError(f"A {type(model).__name__} cannot be compared. Pass a path, a Graph or a Model.")


def _import(module: nn.Module, sample: Sample) -> Graph:
    import torch

    from .importer import import_module
    from .passes import optimize

    return optimize(import_module(module, tuple(torch.from_numpy(array) for array in sample.values())))


def _real(value: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Stored values as float32."""
    quantization = tensor.quantization
    if value.dtype != np.int8 or quantization is None:
        return value
    return (value.astype(np.float32) - quantization.zero_point) * np.float32(quantization.scale[0])


class _Layers:
    """Runs the float32 graph and the model on the same samples, and the model's layers one by one."""

    def __init__(self, graph: Graph, reference: Graph):
        from .quantize.executor import Executor

        self.graph, self.reference = graph, reference
        self.wanted, self.whole = Executor(reference), Executor(graph)
        self.twins = self._twins()
        self.nodes = [n for n in graph.nodes if n.operation != "dequantize" and n.output in self.twins]
        self.nodes = [n for n in self.nodes if all(name in self.twins for name in self._activations(n))]
        if not any(node.operation not in CHANGES for node in self.nodes):
            raise ConversionError("The model was not converted from this module: no layer of the same name is in both.")
        self.alone = {node.output: Executor(self._one(node)) for node in self.nodes}
        self.isolated = {node.output: Deviation() for node in self.nodes}
        self.cumulative = {node.output: Deviation() for node in self.nodes}

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
                got = _real(value.numpy(), self.graph.tensors[name])
                self.cumulative[name].add(got, wanted[self.twins[name]])

        outputs = self.whole.run(sample, observe)
        for node in self.nodes:
            stored = {}
            for name in self._activations(node):
                tensor, value = self.graph.tensors[name], wanted[self.twins[name]]
                quantization = tensor.quantization if tensor.dtype == "int8" else None
                stored[name] = value if quantization is None else quantize_array(value, quantization)
            got = self.alone[node.output].run(stored)[node.output]
            got = _real(got, self.graph.tensors[node.output])
            self.isolated[node.output].add(got, wanted[self.twins[node.output]])
        return outputs

    def rows(self) -> list[Row]:
        rows = []
        for node in self.nodes:
            shape = list(self.graph.tensors[node.output].shape)
            alone, chain = self.isolated[node.output], self.cumulative[node.output]
            rows.append(make_row(node.name, node.operation, shape, node.source, alone, chain))
        return rows


class _Outputs:
    """Compares the model's outputs with the module's own."""

    def __init__(self, module: nn.Module, model: Any, graph: Graph):
        self.module, self.graph = module, graph
        self.engine = model if hasattr(model, "run") else None
        self.deviations = [Deviation() for _ in graph.outputs]
        self.same = [0] * len(graph.outputs)
        self.total = 0

    def add(self, sample: Sample, outputs: dict[str, np.ndarray]) -> None:
        """Take in one sample with the outputs of the model's graph; a Model's own outputs are used in their place."""
        wanted = self._torch(sample)
        got = [outputs[name] for name in self.graph.outputs]
        if self.engine is not None:
            result = self.engine.run(sample)
            got = list(result) if isinstance(result, tuple) else [result]
        if [g.shape for g in got] != [w.shape for w in wanted]:
            raise ConversionError(
                "The module returns other outputs than the model. Pass the module it was converted from."
            )
        for i, (have, want) in enumerate(zip(got, wanted, strict=True)):
            self.deviations[i].add(have, want)
            if have.ndim == 2:
                self.same[i] += int((have.argmax(1) == want.argmax(1)).sum())
        self.total += len(got[0])

    def _torch(self, sample: Sample) -> list[np.ndarray]:
        import torch
        from torch.utils import _pytree as pytree

        training = {part: part.training for part in self.module.modules()}
        self.module.eval()
        try:
            with torch.inference_mode():
                result = self.module(*(torch.from_numpy(array.copy()) for array in sample.values()))
        finally:
            for part, mode in training.items():
                part.training = mode
        return [leaf.numpy() for leaf in pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]

    def rows(self) -> list[dict[str, Any]]:
        rows = []
        for name, deviation, same in zip(self.graph.outputs, self.deviations, self.same, strict=True):
            classes = len(self.graph.tensors[name].shape) == 2
            rows.append(
                {
                    "name": name,
                    "sqnr": deviation.sqnr,
                    "cosine": deviation.cosine,
                    "max_error": deviation.maximum,
                    "top1_agreement": same / self.total if classes and self.total else None,
                }
            )
        return rows

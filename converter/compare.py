"""`compare`: layer by layer, how far a converted network lies from the PyTorch module it came from."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from edgenet.errors import ConversionError
from edgenet.graph import Graph

from .comparison import Comparison, Deviation, sort_rows
from .conversion import require_torch
from .evaluation import Accuracy, evaluation
from .layerwise import Layers
from .samples import Sample

if TYPE_CHECKING:
    from torch import nn

LEAST_SQNR = {"float32": 60.0, "float16": 40.0}
QUANTIZED_SQNR = 3.0
"""dB below which the median layer, run alone, has other weights, by precision; and for those that hold int8."""
LAYERS = ("conv2d", "linear", "conv_transpose2d")
"""Operations with weights."""
LAYER_SAMPLES = 64
"""Samples that every layer is run on, evenly spread; all samples count for the outputs and the accuracy."""


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
    They are run on at most LAYER_SAMPLES samples. The outputs of all are compared with what the module itself returns,
    and where the inputs are labelled (see `evaluation`), so is the accuracy of PyTorch, `reference` and the model.
    Raises ConversionError, also where the model was made from another network or from other weights.
    """
    require_torch()
    graph = _graph(model)
    single = isinstance(inputs, tuple) and 1 < len(graph.inputs) == len(inputs) and hasattr(inputs[0], "shape")
    judged = evaluation(graph, [inputs] if single else inputs, graph.metadata.preprocessing)
    samples = judged.samples
    if reference is None:
        reference = _import(module, samples[0])
    layers, outputs = Layers(graph, reference), _Outputs(module, model, graph, reference)
    every = max(1, -(-len(samples) // LAYER_SAMPLES))
    for done, sample in enumerate(samples):
        if progress:
            progress("compare", done, len(samples))
        got = layers.add(sample) if done % every == 0 else None
        if done == 0:
            _require_same_weights(graph, layers)
        outputs.add(sample, got, None if judged.targets is None else judged.targets[done])
    if progress:
        progress("compare", len(samples), len(samples))
    name = graph.metadata.provenance.get("name", type(module).__name__)
    plural = "s" if len(samples) != 1 else ""
    title = f"{name}: {len(samples)} sample{plural}, {len(layers.rows())} layers, worst first"
    return Comparison(sort_rows(layers.rows()), outputs.rows(), len(samples), title, outputs.accuracy())


def _require_same_weights(graph: Graph, layers: Layers) -> None:
    """ConversionError where most layers with weights are not in the reference, or compute something else there."""
    weighted = [node.name for node in graph.nodes if node.operation in LAYERS]
    found = [row.isolated_sqnr for row in layers.rows() if row.operation in LAYERS]
    provenance = graph.metadata.provenance
    origin = f", and it says that it was made from {provenance['source']}" if provenance.get("source") else ""
    if 2 * len(found) < len(weighted):
        reason = f"only {len(found)} of its {len(weighted)} layers are in both"
    elif found and _median(found) < LEAST_SQNR.get(provenance.get("precision", ""), QUANTIZED_SQNR):
        reason = "most of its layers have other weights"
    else:
        return
    raise ConversionError(f"The model was not made from this checkpoint: {reason}{origin}.")


def _median(decibels: list[float | None]) -> float:
    """The median where None stands for no difference."""
    return statistics.median(math.inf if value is None else value for value in decibels)


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


class _Outputs:
    """Compares the model's outputs with the module's own, and all with the labels where there are some."""

    def __init__(self, module: nn.Module, model: Any, graph: Graph, reference: Graph):
        from .quantize.executor import Executor

        self.module, self.graph = module, graph
        self.engine = model if hasattr(model, "run") else None
        self.whole, self.float32 = Executor(graph), Executor(reference)
        kind = graph.metadata.provenance.get("precision", "as converted")
        sides = ["PyTorch", "edgenet float32"] + ([f"edgenet {kind}"] if kind != "float32" else [])
        self.accuracies = {side: Accuracy() for side in sides}
        self.deviations = [Deviation() for _ in graph.outputs]
        self.same = [0] * len(graph.outputs)
        self.total = 0

    def add(self, sample: Sample, outputs: dict[str, np.ndarray] | None, targets: np.ndarray | None) -> None:
        """Take in one sample with the outputs of the model's graph where they are known already, and its classes.

        A Model's own outputs are used in their place.
        """
        wanted = self._torch(sample)
        if self.engine is not None:
            result = self.engine.run(sample)
            got = list(result) if isinstance(result, tuple) else [result]
        else:
            outputs = outputs or self.whole.run(sample)
            got = [outputs[name] for name in self.graph.outputs]
        if [g.shape for g in got] != [w.shape for w in wanted]:
            raise ConversionError(
                "The module returns other outputs than the model. Pass the module it was converted from."
            )
        for i, (have, want) in enumerate(zip(got, wanted, strict=True)):
            self.deviations[i].add(have, want)
            if have.ndim == 2:
                self.same[i] += int((have.argmax(1) == want.argmax(1)).sum())
        self.total += len(got[0])
        if targets is not None:
            found = [wanted[0], self.float32.run(sample)[self.float32.graph.outputs[0]], got[0]]
            for accuracy, values in zip(self.accuracies.values(), found, strict=False):
                accuracy.add(values, targets)

    def accuracy(self) -> list[dict[str, Any]]:
        """A row for PyTorch, edgenet's float32 and the model; none without labels."""
        return [{"name": name, **found.figures()} for name, found in self.accuracies.items() if found.total]

    def _torch(self, sample: Sample) -> list[np.ndarray]:
        import torch

        from .agreement import module_outputs

        return module_outputs(self.module, [torch.from_numpy(array) for array in sample.values()])

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

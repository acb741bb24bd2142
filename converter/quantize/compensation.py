"""Rounds the layers of an int8 graph one after the other, each so that it makes up for the errors of those before it.

A layer of the int8 graph reads values that earlier layers have already changed. Its weights are first fitted, by ridge
regression from those values, to the outputs that it has in float32; then they are rounded for the least error on them
(see `rounding`). How far the fit may go is chosen by cross-validation over the samples, so that few samples, or errors
that cannot be foreseen, leave the weights alone. Biases take up what remains of the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from edgenet.graph import Graph, Node

from .bias_correction import result_scale
from .calibration import Progress
from .executor import Executor, run_call
from .lowering import layer_constants
from .placement import LAYERS
from .rounding import LARGEST, Moments, extract_patches, extract_positions, flat_weight, unflat_weight
from .weights import quantize_weights

RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Shares of the mean variance tried as the ridge; smaller ones trust the samples more."""
FLOOR = 0.1
"""Standard deviation, in steps of the int8 input, that every input is taken to have at least."""
FOLDS = 2
"""Parts of the samples: each is judged by what the others give."""


@dataclass
class Pairs:
    """Sums over patches x of the float32 layer's input and y of the int8 one's, with the residuals' difference d.

    `y` has the moments of y. `cross` [groups, inputs, inputs] sums x y^T, `total` [groups, inputs] sums x; `residual`
    [groups, outputs, inputs] sums d y^T, `missing` [groups, outputs] sums d.
    """

    y: Moments
    cross: torch.Tensor
    total: torch.Tensor
    residual: torch.Tensor
    missing: torch.Tensor

    @classmethod
    def empty(cls, groups: int, inputs: int, outputs: int) -> Pairs:
        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(groups, *shape)

        return cls(
            Moments(zeros(inputs), zeros(inputs, inputs)),
            zeros(inputs, inputs),
            zeros(inputs),
            zeros(outputs, inputs),
            zeros(outputs),
        )

    def add(self, x: torch.Tensor, y: torch.Tensor, difference: torch.Tensor | None) -> None:
        """Take in patches [groups, positions, inputs], and [groups, positions, outputs]."""
        self.y.add(y)
        self.cross += x.transpose(1, 2) @ y
        self.total += x.sum(1)
        if difference is not None:
            self.residual += difference.transpose(1, 2) @ y
            self.missing += difference.sum(1)

    def __add__(self, other: Pairs) -> Pairs:
        y = Moments(self.y.total + other.y.total, self.y.products + other.y.products, self.y.count + other.y.count)
        rest = ((self.cross, other.cross), (self.total, other.total))
        more = ((self.residual, other.residual), (self.missing, other.missing))
        return Pairs(y, *(a + b for a, b in (*rest, *more)))

    def target(self, weight: torch.Tensor) -> torch.Tensor:
        """Covariance [groups, outputs, inputs] of the wanted sums, for `weight` [groups, outputs, inputs], with y."""
        count, mean = self.y.count, self.y.mean()
        centred = self.cross.double() / count - (self.total.double() / count)[:, :, None] * mean[:, None, :]
        missing = (self.missing.double() / count)[:, :, None] * mean[:, None, :]
        return weight @ centred + self.residual.double() / count - missing

    def wanted_mean(self, weight: torch.Tensor) -> torch.Tensor:
        """Mean [groups, outputs] of the wanted sums without bias."""
        count = self.y.count
        return (weight @ (self.total.double() / count)[:, :, None])[:, :, 0] + self.missing.double() / count


def fitted(pairs: Pairs, weight: torch.Tensor, ridge: float, floor: float) -> torch.Tensor:
    """Weights that give the wanted sums from y with the least squared error, drawn towards `weight` by `ridge`.

    `floor`: a variance added to every input's, so that inputs that never change do no harm.
    """
    covariance = pairs.y.covariance()
    strength = ridge * covariance.diagonal(dim1=1, dim2=2).mean(1).clamp_min(0) + floor
    shifted = covariance + torch.diag_embed(strength[:, None].expand(covariance.shape[:2]))
    excess = pairs.target(weight) - weight @ covariance
    factor = torch.linalg.cholesky(shifted)
    return weight + torch.cholesky_solve(excess.transpose(1, 2), factor).transpose(1, 2)


def error(pairs: Pairs, weight: torch.Tensor, trial: torch.Tensor) -> float:
    """Mean squared error of the sums that `trial` gives, up to a constant."""
    return float((trial * (trial @ pairs.y.covariance() - 2 * pairs.target(weight))).sum())


def best_fit(folds: Sequence[Pairs], weight: torch.Tensor, floor: float) -> torch.Tensor:
    """Weights fitted to all folds with the ridge that does best across them; `weight` itself where none does better."""
    filled = [fold for fold in folds if fold.y.count]
    if len(filled) < FOLDS:
        return weight
    best, chosen = sum(error(fold, weight, weight) for fold in filled), None
    for ridge in RIDGES:
        found = 0.0
        for i, fold in enumerate(filled):
            others = _sum(filled[:i] + filled[i + 1 :])
            found += error(fold, weight, fitted(others, weight, ridge, floor))
        if found < best:
            best, chosen = found, ridge
    return weight if chosen is None else fitted(_sum(filled), weight, chosen, floor)


def _sum(parts: Sequence[Pairs]) -> Pairs:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def compensate(
    graph: Graph, source: Graph, samples: Sequence[Mapping[str, np.ndarray]], progress: Progress | None = None
) -> None:
    """Give every int8 layer of `graph` the weights, bias and multipliers that do best behind the layers before it.

    `source`: the float32 graph it was lowered from; layers have the same names in both. The activations of all samples
    are held while they are needed.
    """
    walks = _Walk(source, samples), _Walk(graph, samples)
    twins = {node.name: node for node in source.nodes}
    layers = [node for node in graph.nodes if node.operation in LAYERS and "multiplier" in node.inputs]
    for done, node in enumerate(layers, start=1):
        if node.name in twins:
            for walk in walks:
                walk.advance(node.name)
            _refit(twins[node.name], node, *walks)
        if progress:
            progress("compensate", done, len(layers))


class _Walk:
    """A graph run on all samples side by side, as far as it has been asked for."""

    def __init__(self, graph: Graph, samples: Sequence[Mapping[str, np.ndarray]]):
        self.graph, self.executor = graph, Executor(graph)
        self.states = [(self.executor.start(sample), self.executor.types(sample)) for sample in samples]
        self.next = 0

    def advance(self, name: str) -> None:
        """Run what stands before the node."""
        with torch.no_grad():
            while self.graph.nodes[self.next].name != name:
                for values, types in self.states:
                    values[self.graph.nodes[self.next].output] = run_call(self.executor.call(self.next, values, types))
                    self.executor.release(self.next, values)
                self.next += 1

    def values(self, name: str) -> list[torch.Tensor]:
        """The tensor's values for each sample, as real numbers."""
        quantization = self.graph.tensors[name].quantization
        found = [values[name] for values, _ in self.states]
        if quantization is None:
            return found
        return [(value.float() - quantization.zero_point) * quantization.scale[0] for value in found]


def _refit(twin: Node, node: Node, wanted: _Walk, given: _Walk) -> None:
    """Replace the constants of an int8 layer whose float32 form is `twin`."""
    weight, bias = layer_constants(wanted.graph, twin)
    groups, inputs = int(twin.attributes.get("groups", 1)), weight[0].size
    if groups * inputs * inputs > LARGEST:
        return
    kernel = (weight.shape[1], weight.shape[2]) if weight.ndim == 4 else (1, 1)
    folds = [Pairs.empty(groups, inputs, len(weight) // groups) for _ in range(FOLDS)]
    differences: list[torch.Tensor | None] = [None] * len(wanted.states)
    if "residual" in node.inputs:
        before, after = wanted.values(twin.inputs["residual"]), given.values(node.inputs["residual"])
        differences = [extract_positions(b - a, twin, groups) for b, a in zip(before, after, strict=True)]
    inputs_of = zip(wanted.values(twin.inputs["x"]), given.values(node.inputs["x"]), differences, strict=True)
    for i, (x, y, difference) in enumerate(inputs_of):
        folds[i % FOLDS].add(extract_patches(x, twin, kernel), extract_patches(y, twin, kernel), difference)
    pairs = _sum([fold for fold in folds if fold.y.count])
    rows = torch.from_numpy(flat_weight(weight, groups).astype(np.float64))
    graph = given.graph
    quantization = graph.tensors[node.inputs["x"]].quantization
    assert quantization is not None, "an int8 layer has an int8 input"
    scale = quantization.scale[0]
    fit = best_fit(folds, rows, (FLOOR * scale) ** 2)
    shift = (pairs.wanted_mean(rows) - (fit @ pairs.y.mean()[:, :, None])[:, :, 0]).reshape(-1).numpy()
    real = shift if bias is None else bias + shift
    output = graph.tensors[node.output].quantization
    output_scale = None if output is None else output.scale[0]
    found = quantize_weights(unflat_weight(fit.numpy(), weight), real, scale, pairs.y, FLOOR * scale, output_scale)
    multiplier = (scale * found.scale / result_scale(graph, node)).astype(np.float32)
    for role, array in (("weight", found.weight), ("bias", found.bias), ("multiplier", multiplier)):
        given.executor.set_constant(node.inputs[role], np.ascontiguousarray(array))

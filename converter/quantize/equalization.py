"""Cross-layer equalization: channels that share one int8 scale are brought to similar ranges, by rescaling weights.

A channel may be multiplied by s > 0 where it is produced and divided by s where it is consumed without changing the
network, as long as everything between commutes with s: ReLU, pooling, residual additions. A ReLU6 commutes only where
the scaled channel cannot reach 6: s is at most 6 over the largest value that the layer's weights can give.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from edgenet.converter.passes.rewrite import copy_graph, set_constant
from edgenet.graph import Graph, Node
from edgenet.ops import complete_attributes, constant_value

from .executor import Executor
from .factors import snap

LAYERS = {"conv2d", "linear"}
POOLS = {"max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "resize"}
LARGEST = 2.0**12
"""Bound of the factors."""
EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How far channels are brought together: 0 leaves them, 1 gives all the same range."""


class Channels:
    """Extremes of a tensor; mean square and, averaged over samples, largest magnitude of its `count` channels."""

    def __init__(self, count: int):
        self.low, self.high = np.inf, -np.inf
        self.peaks, self.squares = np.zeros(count), np.zeros(count)
        self.positions = self.samples = 0

    def add(self, value: torch.Tensor) -> None:
        flat = value.reshape(-1, value.shape[-1])
        low, high = (end.double().numpy() for end in flat.aminmax(dim=0))
        self.low, self.high = min(self.low, float(low.min())), max(self.high, float(high.max()))
        self.peaks += np.maximum(high, -low)
        self.squares += flat.square().sum(0).double().numpy()
        self.positions += len(flat)
        self.samples += 1

    def peak(self) -> np.ndarray:
        """Largest magnitude in a sample, on average."""
        return self.peaks / self.samples

    def square(self) -> np.ndarray:
        """Mean square."""
        return self.squares / self.positions


@dataclass
class Class:
    """Tensors whose channels are scaled together, the nodes that produce and consume them, and clamps on the way."""

    tensors: list[str] = field(default_factory=list)
    producers: list[Node] = field(default_factory=list)
    consumers: list[Node] = field(default_factory=list)
    clamped: list[tuple[Node, float]] = field(default_factory=list)
    fixed: bool = False


class _Classes:
    """Union-find over tensors."""

    def __init__(self, graph: Graph):
        self.parent = {name: name for name in graph.tensors if name not in graph.constants}
        self.fixed: set[str] = {*graph.inputs, *graph.outputs}

    def root(self, name: str) -> str:
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def join(self, *names: str) -> None:
        for name in names[1:]:
            self.parent[self.root(name)] = self.root(names[0])


def _commutes(node: Node) -> bool:
    """Whether the node's fused activation commutes with positive factors (up to its upper clamp)."""
    activation = node.attributes.get("activation")
    if not activation:
        return True
    return activation["kind"] == "clamp" and (activation["min"] == 0 or activation["min"] is activation["max"] is None)


def _clamp(node: Node) -> float:
    """The upper clamp of the node's fused activation; 0 where it has none."""
    activation = node.attributes.get("activation")
    return float(activation["max"] or 0) if activation and activation["kind"] == "clamp" else 0.0


def _keeps_channels(graph: Graph, node: Node) -> bool:
    """Whether each output channel of a node depends on its input channel alone, and in proportion."""
    if node.operation in POOLS:
        return True
    if "x" not in node.inputs:
        return False
    x, y = graph.tensors[node.inputs["x"]].shape, graph.tensors[node.output].shape
    attributes = complete_attributes(node)
    if node.operation == "mean":
        return len(x) - 1 not in attributes["axes"]
    if node.operation == "slice":
        return attributes["axis"] != len(x) - 1
    if node.operation == "pad":
        return attributes["value"] == 0 and not any(attributes["pads"][-2:])
    if node.operation in ("flatten", "reshape"):
        return x[-1] == y[-1] and all(size == 1 for size in (*x[1:-1], *y[1:-1]))
    return False


def find_classes(graph: Graph) -> list[Class]:
    """The classes of tensors that may be scaled."""
    classes = _Classes(graph)
    for node in graph.nodes:
        inputs = [name for name in node.inputs.values() if name not in graph.constants]
        if node.operation in LAYERS:
            if "residual" in node.inputs and node.inputs["residual"] not in graph.constants:
                classes.join(node.output, node.inputs["residual"])
            free = _commutes(node) and node.inputs["x"] not in graph.constants
            fixed = [] if free else [node.output]
        elif node.operation in ("add", "sub") and len({graph.tensors[name].shape for name in inputs}) == 1:
            classes.join(node.output, *inputs)
            free = _commutes(node) and len(inputs) == len(node.inputs) and not _clamp(node)
            fixed = [] if free else [node.output]
        elif _keeps_channels(graph, node):
            classes.join(node.output, inputs[0])
            fixed = []
        else:
            fixed = [*inputs, node.output]
        classes.fixed.update(fixed)
    found: dict[str, Class] = {}
    for name in classes.parent:
        found.setdefault(classes.root(name), Class()).tensors.append(name)
    for name in classes.fixed:
        found[classes.root(name)].fixed = True
    for node in graph.nodes:
        if node.operation in LAYERS:
            found[classes.root(node.output)].producers.append(node)
            if node.inputs["x"] not in graph.constants:
                found[classes.root(node.inputs["x"])].consumers.append(node)
            if _clamp(node):
                found[classes.root(node.output)].clamped.append((node, _clamp(node)))
    return [each for each in found.values() if not each.fixed and each.producers and each.consumers]


def channel_statistics(
    graph: Graph, samples: Iterable[Mapping[str, np.ndarray]], names: Iterable[str]
) -> dict[str, Channels]:
    """Statistics of the tensors `names` over samples (inputs by name)."""
    found = {name: Channels(graph.tensors[name].shape[-1]) for name in names}

    def observe(name: str, value: torch.Tensor) -> None:
        if name in found:
            found[name].add(value)

    executor = Executor(graph)
    for sample in samples:
        executor.run(sample, observe)
    return found


def scale_inputs(weight: np.ndarray, groups: int, factors: np.ndarray) -> np.ndarray:
    """`weight` [O, ..., I / groups] with input channel i multiplied by factors[i]."""
    rows = factors.reshape(groups, -1).repeat(len(weight) // groups, 0)
    return weight * rows.reshape(len(weight), *[1] * (weight.ndim - 2), weight.shape[-1])


@dataclass
class Model:
    """What the error caused by factors is predicted from: statistics and sensitivities by tensor name."""

    graph: Graph
    statistics: Mapping[str, Channels]
    sensitivity: Mapping[str, np.ndarray]

    def noise(self, group: Class, factors: np.ndarray) -> float:
        """Predicted squared error of the outputs from rounding the class's tensors and its consumers' weights."""
        total = 0.0
        for name in group.tensors:
            seen = self.statistics[name]
            step = (seen.peak() * factors).max() / (255 if seen.low >= 0 else 127)
            total += seen.positions * float((self.sensitivity[name] * (step / factors) ** 2).sum()) / 12
        for node in group.consumers:
            groups = int(node.attributes.get("groups", 1))
            weight = constant_value(self.graph, node.inputs["weight"]).astype(np.float64)
            steps = np.abs(scale_inputs(weight, groups, 1 / factors).reshape(len(weight), -1)).max(1) / 127
            square = self.statistics[node.inputs["x"]].square() * factors**2
            taps = weight[0].size // weight.shape[-1]
            inputs = square.reshape(groups, -1).sum(1).repeat(len(weight) // groups) * taps
            positions = self.statistics[node.output].positions
            total += positions * float((self.sensitivity[node.output] * steps**2 * inputs).sum()) / 12
        return total


def largest_result(model: Model, node: Node) -> np.ndarray:
    """What each output channel of a layer cannot exceed before its activation, for inputs between the extremes seen."""
    weight = constant_value(model.graph, node.inputs["weight"]).astype(np.float64)
    flat, x = weight.reshape(len(weight), -1), model.statistics[node.inputs["x"]]
    low, high = min(x.low, 0.0), max(x.high, 0.0)
    largest = np.maximum(flat, 0).sum(1) * high + np.minimum(flat, 0).sum(1) * low
    if "bias" in node.inputs:
        largest = largest + constant_value(model.graph, node.inputs["bias"])
    if "residual" in node.inputs:
        largest = largest + max(model.statistics[node.inputs["residual"]].high, 0.0)
    return largest


def choose_factors(model: Model, group: Class) -> np.ndarray:
    """Factor of each channel of a class, as `factors` keeps them."""
    peak = np.max([model.statistics[name].peak() for name in group.tensors], axis=0)
    limit = np.full(len(peak), LARGEST)
    for node, clamp in group.clamped:
        reach = np.maximum(largest_result(model, node), 1e-30)
        limit = np.minimum(limit, np.maximum(clamp / reach, 1.0))
    ratio = np.where(peak > 0, peak.max() / np.where(peak > 0, peak, 1), 1.0)
    choices = [snap(np.clip(ratio**exponent, 1.0, limit)) for exponent in EXPONENTS]
    return min(choices, key=lambda factors: model.noise(group, factors))


def scale_channels(graph: Graph, group: Class, factors: np.ndarray) -> None:
    """Multiply the channels of a class by `factors` where they are made, and divide them where they are read."""
    for node in group.producers:
        weight = constant_value(graph, node.inputs["weight"])
        set_constant(graph, node, "weight", weight * factors.reshape(-1, *[1] * (weight.ndim - 1)))
        if "bias" in node.inputs:
            set_constant(graph, node, "bias", constant_value(graph, node.inputs["bias"]) * factors)
    for node in group.consumers:
        weight = constant_value(graph, node.inputs["weight"])
        scaled = scale_inputs(weight, int(node.attributes.get("groups", 1)), 1 / factors)
        set_constant(graph, node, "weight", scaled)


def equalize(
    graph: Graph, samples: Iterable[Mapping[str, np.ndarray]], sensitivity: Mapping[str, np.ndarray]
) -> tuple[Graph, dict[str, np.ndarray]]:
    """(a float32 graph that computes the same, with channels equalized; the factors by tensor).

    `samples` hold inputs by name; `sensitivity` is that of every activation (see `channel_sensitivity`).
    """
    result = copy_graph(graph)
    classes = find_classes(result)
    names = {name for group in classes for name in group.tensors}
    names |= {node.output for group in classes for node in group.consumers}
    inputs = {node.inputs["x"] for group in classes for node, _ in group.clamped}
    model = Model(graph, channel_statistics(graph, samples, names | inputs), sensitivity)
    found: dict[str, np.ndarray] = {}
    for group in classes:
        factors = choose_factors(model, group)
        if (factors == 1).all():
            continue
        found.update(dict.fromkeys(group.tensors, factors))
        scale_channels(result, group, factors)
    return result, found

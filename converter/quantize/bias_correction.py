"""Moves the biases of an int8 graph so that each layer's outputs keep, on average, the values they have in float32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from edgenet.graph import Graph, Node

from .executor import Executor, run_call
from .float_ops import Call
from .placement import LAYERS
from .split import split_activations
from .weights import LARGEST_BIAS


def float_means(
    source: Graph, samples: Iterable[Mapping[str, np.ndarray]], layers: Iterable[str]
) -> dict[str, list[np.ndarray]]:
    """For each sample, the mean over positions of each output channel before the activation, for the layers named."""
    opened = split_activations(source, lambda node, activation: False)
    outputs = {node.output: node.name for node in opened.nodes if node.operation in LAYERS}
    means: dict[str, list[np.ndarray]] = {name: [] for name in layers}

    def observe(name: str, value: torch.Tensor) -> None:
        if outputs.get(name) in means:
            means[outputs[name]].append(value.reshape(-1, value.shape[-1]).double().mean(0).numpy())

    executor = Executor(opened)
    for sample in samples:
        executor.run(sample, observe)
    return means


def before_rounding(call: Call) -> torch.Tensor:
    """What an int8 layer computes before activation and rounding: [positions, channels], in units of its multiplier."""
    node = replace(call.node, attributes={**call.attributes, "activation": None})
    value = run_call(Call(node, call.x, call.types, replace(call.output, dtype="float32", quantization=None)))
    return value.reshape(-1, value.shape[-1]).double()


def result_scale(graph: Graph, node: Node) -> float:
    """Real size of one unit of `before_rounding`: the output's scale where the multipliers contain it."""
    output = graph.tensors[node.output]
    activation = node.attributes.get("activation")
    if output.quantization is None or (activation and activation["kind"] == "hardswish"):
        return 1.0
    return output.quantization.scale[0]


def correct_biases(graph: Graph, source: Graph, samples: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Change the biases of the int8 `graph` so that its layers have the means of the float32 graph `source`.

    Layers have the same names in both. They are corrected in order, each on what the corrected layers before it give;
    the activations of all samples are held while they are needed.
    """
    layers = [node.name for node in graph.nodes if node.operation in LAYERS and "multiplier" in node.inputs]
    means = float_means(source, samples, layers)
    executor = Executor(graph)
    with torch.no_grad():
        states = [(executor.start(sample), executor.types(sample)) for sample in samples]
        for index, node in enumerate(graph.nodes):
            if node.name in means and "multiplier" in node.inputs:
                parts = [before_rounding(executor.call(index, values, types)) for values, types in states]
                scale = result_scale(graph, node)
                missing = [
                    want / scale - part.mean(0).numpy() for want, part in zip(means[node.name], parts, strict=True)
                ]
                missing = np.median(missing, axis=0)
                whole = np.rint(missing / graph.constants[node.inputs["multiplier"]].astype(np.float64))
                moved = np.clip(graph.constants[node.inputs["bias"]] + whole, -LARGEST_BIAS, LARGEST_BIAS)
                executor.set_constant(node.inputs["bias"], moved.astype(np.int32))
            for values, types in states:
                values[node.output] = run_call(executor.call(index, values, types))
                executor.release(index, values)

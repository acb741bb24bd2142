"""From a float32 graph with quantize and dequantize nodes, as a quantized program is imported, to an int8 graph.

Scales and zero points are kept. What the program does not quantize runs in float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgenet.errors import ConversionError
from edgenet.graph import Graph, Node, Quantization

from .passes.rewrite import copy_graph
from .quantize.lowering import layer_constants, lower
from .quantize.placement import LAYERS, Placement, activations, keeps_quantization, layers, place
from .quantize.posttraining import is_stored
from .quantize.split import split_activations
from .quantize.weights import LARGEST_BIAS, IntegerWeights

Scales = Mapping[str, np.ndarray]
"""By name of a constant, the scale of each index of axis 0."""


def is_annotated(graph: Graph) -> bool:
    """Whether a float32 graph has quantize nodes."""
    return any(node.operation == "quantize" for node in graph.nodes)


def lower_annotated(graph: Graph) -> Graph:
    """The int8 graph with the scales of an optimised `graph` that `is_annotated`.

    Weights keep their scales, too; a weight stored as -128, which edgenet's int8 does not have, becomes -127. A channel
    whose bias does not fit int32 at its scale gets the smallest scale at which it does. Layers and operations that lack
    a scale run in float32, and one warning names them all. Raises ConversionError where a tensor has two scales.
    """
    source, found = strip(graph)
    source = split_activations(source)
    source, scales = take_weight_scales(source)
    reasons = {
        node.name: "its weights carry no symmetric scale"
        for node in layers(source)
        if node.inputs["weight"] not in scales
    }
    while True:
        placement = place(source, reasons)
        quantizations, lacking = assign(source, placement, found)
        if not lacking:
            break
        reasons.update(lacking)
    producers = source.producers()
    placement.wanted_int8.update(name for name in found if name in producers and producers[name].name in placement.int8)
    if reasons:
        listed = "".join(f"\n- {name}: {reason}" for name, reason in reasons.items())
        warnings.warn(f"{len(reasons)} operations of the quantized program run in float32:{listed}", stacklevel=3)
    return lower(source, placement, quantizations, lambda node, scale, _: kept_weights(source, node, scale, scales))


def strip(graph: Graph) -> tuple[Graph, dict[str, Quantization]]:
    """The graph without its quantize and dequantize nodes, and the quantization of each tensor that had them.

    Where int8 values, moved or not, are quantized anew at another scale, a concat of them alone stands: its int8 form
    changes the scale.
    """
    source, found = copy_graph(graph), {}
    known: dict[str, Quantization] = {}
    stored: dict[str, str] = {}
    dequantized: dict[str, str] = {}
    twice: list[str] = []
    nodes, source.nodes = source.nodes, []
    for node in nodes:
        if node.operation == "dequantize":
            dequantized[node.output] = stored[node.inputs["x"]]
            continue
        if node.operation != "quantize":
            node.inputs = {role: dequantized.get(name, name) for role, name in node.inputs.items()}
            source.nodes.append(node)
            if keeps_quantization(node) and node.inputs["x"] in known:
                known[node.output] = known[node.inputs["x"]]
            continue
        raw, q = node.inputs["x"], graph.tensors[node.output].quantization
        assert q is not None, "a quantize node's output has a quantization"
        x = dequantized.get(raw, raw)
        if known.setdefault(x, q) != q:
            if raw in found:
                twice.append(raw)
            x = rescale(source, x)
            known[x] = q
        found[x], stored[node.output] = q, x
    if twice:
        names = ", ".join(dict.fromkeys(twice))
        raise ConversionError(f"The quantized program gives these tensors two scales each: {names}. Share one of them.")
    source.outputs = [dequantized.get(name, name) for name in source.outputs]
    used = {*source.inputs, *source.constants, *(node.output for node in source.nodes)}
    source.tensors = {name: tensor for name, tensor in source.tensors.items() if name in used}
    return source, found


def rescale(graph: Graph, x: str) -> str:
    """Append a node that gives tensor `x` as it is, and return the name of its output."""
    tensor = graph.tensors[x]
    name = graph.unique_name(f"{x}.rescale")
    graph.tensors[name] = replace(tensor, name=name)
    graph.nodes.append(Node("concat", name, {"x0": x}, name, {"axis": len(tensor.shape) - 1}))
    return name


def take_weight_scales(graph: Graph) -> tuple[Graph, dict[str, np.ndarray]]:
    """The graph with plain float32 constants, and the scales that they had."""
    scales = {}
    for name, array in graph.constants.items():
        q = graph.tensors[name].quantization
        if array.dtype == np.float32 and q is not None:
            scales[name] = np.asarray(q.scale, np.float64)
            graph.tensors[name] = replace(graph.tensors[name], quantization=None)
    return graph, scales


def assign(
    source: Graph, placement: Placement, found: Mapping[str, Quantization]
) -> tuple[dict[str, Quantization], dict[str, str]]:
    """(quantization by group, why nodes of `placement.int8` cannot run in int8 by name).

    Only moves share a quantization with their input: a program gives the inputs of a concat their own. The groups of
    `placement` are set to that.
    """
    quantizations: dict[str, Quantization] = {}
    lacking: dict[str, str] = {}
    placement.group = {}
    moves: list[Node] = []
    for node in source.nodes:
        for name in (*activations(source, node), node.output):
            placement.group.setdefault(name, name)
        if node.name in placement.int8 and keeps_quantization(node):
            placement.group[node.output] = placement.group[node.inputs["x"]]
            moves.append(node)
    for name, q in found.items():
        quantizations.setdefault(placement.group.get(name, name), q)
    for node in moves:
        if found.get(node.output, quantizations.get(placement.group[node.output])) != quantizations.get(
            placement.group[node.output]
        ):
            lacking[node.name] = "its input and its output have different scales"
    readers = source.consumers()
    producers = source.producers()
    for name, group in placement.group.items():
        if group in quantizations or not is_stored(source, placement, name):
            continue
        guilty = [node for node in readers[name] if node.name in placement.int8]
        if not guilty and name in producers:
            guilty = [producers[name]]
        lacking.update((node.name, f"{name} carries no scale") for node in guilty)
    return quantizations, lacking


def kept_weights(graph: Graph, node: Node, input_scale: float, scales: Scales) -> IntegerWeights:
    """The int8 form of a layer at the scales of its weights."""
    assert node.operation in LAYERS, "only layers have weights in int8"
    weight, bias = layer_constants(graph, node)
    real = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
    scale = np.maximum(scales[node.inputs["weight"]], np.abs(real) / (input_scale * LARGEST_BIAS))
    stored = np.clip(np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))), -127, 127).astype(np.int8)
    whole = np.clip(np.rint(real / (input_scale * scale)), -LARGEST_BIAS, LARGEST_BIAS).astype(np.int32)
    return IntegerWeights(stored, whole, scale)

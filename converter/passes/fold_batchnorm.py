"""Fold batch norms, and any other per-channel affine map, into the weights beside them.

A batch norm is imported as a depthwise 1x1 convolution. One that cannot be folded stays that: a per-channel affine map.
"""

from __future__ import annotations

import numpy as np

from edgenet.graph import Graph, Node

from .affine import Affine, as_affine, is_linear_map
from .rewrite import Index, bypass, set_constant, sweep

WEIGHTED = ("conv2d", "conv_transpose2d", "linear")
KEEP_ORDER = ("reshape", "flatten")


def _bias(graph: Graph, node: Node, channels: int) -> np.ndarray:
    return graph.constants[node.inputs["bias"]].astype(np.float64) if "bias" in node.inputs else np.zeros(channels)


def _weighted_before(index: Index, name: str) -> Node | None:
    """The layer whose sums are tensor `name`, seen through reshapes, when nothing else reads them."""
    while index.private(name):
        node = index.producer(name)
        if node is None:
            return None
        if node.operation in WEIGHTED:
            return node if is_linear_map(node) else None
        if node.operation not in KEEP_ORDER:
            return None
        name = node.inputs["x"]
    return None


def _fold_behind(graph: Graph, index: Index, node: Node, affine: Affine) -> bool:
    """conv then affine: the convolution's filters and bias are scaled."""
    layer = _weighted_before(index, affine.x)
    if layer is None:
        return False
    weight = graph.constants[layer.inputs["weight"]].astype(np.float64)
    channels, scale, shift = weight.shape[0], affine.scale, affine.shift
    if len(scale) != channels:
        if (scale != scale[0]).any() or (shift != shift[0]).any():
            return False
        scale, shift = np.full(channels, scale[0]), np.full(channels, shift[0])
    bias = _bias(graph, layer, channels) * scale + shift
    if not bypass(graph, index, node, affine.x):
        return False
    set_constant(graph, layer, "weight", weight * scale.reshape(-1, *[1] * (weight.ndim - 1)))
    if "bias" in layer.inputs or bias.any():
        set_constant(graph, layer, "bias", bias)
    return True


def _layers_after(graph: Graph, index: Index, name: str, affine: Affine) -> list[Node] | None:
    """All layers that read `name` (through reshapes), or None when one of them cannot take the affine map in."""
    found: list[Node] = []
    if name in graph.outputs:
        return None
    for node in index.readers[name]:
        if node.operation in KEEP_ORDER and graph.tensors[node.output].shape[-1] % len(affine.scale) == 0:
            inner = _layers_after(graph, index, node.output, affine)
            if inner is None:
                return None
            found += inner
            continue
        reads = [role for role, used in node.inputs.items() if used == name]
        if node.operation not in WEIGHTED or reads != ["x"] or "multiplier" in node.inputs:
            return None
        padded = node.operation == "conv_transpose2d" or any(node.attributes.get("padding", ()))
        if padded and affine.shift.any():
            return None
        found.append(node)
    return found


def _absorb_input(graph: Graph, layer: Node, affine: Affine) -> None:
    """The layer's weights take `x * scale + shift` of its input in."""
    weight = graph.constants[layer.inputs["weight"]].astype(np.float64)
    depth, filters = weight.shape[-1], weight.shape[0]
    groups = layer.attributes.get("groups", 1)
    repeats = groups * depth // len(affine.scale)
    group = np.repeat(np.arange(groups), filters // groups)
    channel = group[:, None] * depth + np.arange(depth)
    sizes = (filters, *[1] * (weight.ndim - 2), depth)
    scale = np.tile(affine.scale, repeats)[channel].reshape(sizes)
    shift = np.tile(affine.shift, repeats)[channel].reshape(sizes)
    bias = _bias(graph, layer, filters) + (weight * shift).reshape(filters, -1).sum(1)
    set_constant(graph, layer, "weight", weight * scale)
    if "bias" in layer.inputs or bias.any():
        set_constant(graph, layer, "bias", bias)


def _fold_ahead(graph: Graph, index: Index, node: Node, affine: Affine) -> bool:
    """Affine then conv: the weights take it in, where no zero padding lies between a shift and the convolution."""
    layers = _layers_after(graph, index, node.output, affine)
    if not layers:
        return False
    for layer in layers:
        _absorb_input(graph, layer, affine)
    return bypass(graph, index, node, affine.x)


def _rule(graph: Graph, index: Index, node: Node) -> bool:
    affine = as_affine(graph, node)
    if affine is None:
        return False
    return _fold_behind(graph, index, node, affine) or _fold_ahead(graph, index, node, affine)


def fold_batchnorm(graph: Graph) -> int:
    """Fold every affine map that has a layer before it (or only layers behind it); the number of maps folded."""
    return sweep(graph, _rule)

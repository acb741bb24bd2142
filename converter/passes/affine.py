"""Per-channel affine nodes y = x * scale + shift: batch norms, and arithmetic with constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgenet.graph import Graph, Node
from edgenet.ops import complete_attributes

ARITHMETIC = {"add", "sub", "mul", "div"}


@dataclass(frozen=True)
class Affine:
    """y = x * scale + shift over the last axis of tensor `x`; both float64 of shape [C]."""

    x: str
    scale: np.ndarray
    shift: np.ndarray


def is_linear_map(node: Node) -> bool:
    """Whether `node` adds nothing behind its weights: no activation, residual or quantization."""
    return not node.attributes.get("activation") and not {"residual", "multiplier"} & set(node.inputs)


def as_affine(graph: Graph, node: Node) -> Affine | None:
    """`node` as per-channel affine map, or None. A depthwise 1x1 convolution is one, and so is `x * constant`."""
    if not is_linear_map(node):
        return None
    if node.operation == "conv2d":
        return _depthwise(graph, node)
    return _arithmetic(graph, node) if node.operation in ARITHMETIC else None


def _depthwise(graph: Graph, node: Node) -> Affine | None:
    a, weight = complete_attributes(node), graph.constants[node.inputs["weight"]]
    channels = weight.shape[0]
    plain = list(a["stride"]) == [1, 1] and not any(a["padding"])
    if weight.shape != (channels, 1, 1, 1) or a["groups"] != channels or not plain:
        return None
    if graph.tensors[node.inputs["x"]].shape[-1] != channels:
        return None
    bias = graph.constants[node.inputs["bias"]] if "bias" in node.inputs else np.zeros(channels)
    return Affine(node.inputs["x"], weight.reshape(-1).astype(np.float64), bias.astype(np.float64))


def _arithmetic(graph: Graph, node: Node) -> Affine | None:
    a, b = node.inputs["a"], node.inputs["b"]
    if (a in graph.constants) == (b in graph.constants):
        return None
    x, name = (b, a) if a in graph.constants else (a, b)
    shape, constant = graph.tensors[x].shape, graph.constants[name].astype(np.float64)
    if len(shape) < 2:  # one value a sample: there are no channels
        return None
    if node.operation == "div" and name == a:
        return None
    if graph.tensors[node.output].shape != shape or constant.size not in (1, shape[-1]):
        return None
    if constant.size > 1 and constant.shape[-1] != constant.size:
        return None
    values = np.broadcast_to(constant.reshape(-1), (shape[-1],))
    one, zero = np.ones(shape[-1]), np.zeros(shape[-1])
    if node.operation == "mul":
        return Affine(x, values, zero)
    if node.operation == "div":
        return Affine(x, 1 / values, zero) if values.all() else None
    if node.operation == "add":
        return Affine(x, one, values)
    return Affine(x, -one, values) if name == a else Affine(x, one, -values)

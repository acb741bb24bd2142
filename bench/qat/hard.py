"""A network made hard to quantize without changing what it computes: channels whose ranges are spread 1000:1."""

from __future__ import annotations

import numpy as np
from torch import nn

from edgenet.converter.passes.rewrite import copy_graph, set_constant
from edgenet.converter.quantize import QuantizationOptions
from edgenet.converter.quantize.equalization import find_classes, scale_channels
from edgenet.graph import Graph
from edgenet.ops import constant_value

DECADES = 3
PLAIN = QuantizationOptions(ranges="minmax", weighted=False, equalize=False, rounding="nearest")
"""Quantization as it is without any of the measures against uneven channels."""


def without_clamps(module: nn.Module) -> nn.Module:
    """The module with every ReLU6 replaced by a ReLU, whose channels may be rescaled."""
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU6):
            setattr(module, name, nn.ReLU())
        else:
            without_clamps(child)
    return module


def spread(graph: Graph, seed: int) -> Graph:
    """The same function with channels multiplied by 10**-3 to 1 where they are made, and divided where they are read.

    `graph` is an optimised float32 graph; classes of tensors that meet a clamp stay as they are.
    """
    result, rng = copy_graph(graph), np.random.default_rng(seed)
    for group in find_classes(result):
        if group.clamped:
            continue
        channels = result.tensors[group.tensors[0]].shape[-1]
        factors = 10.0 ** rng.permutation(np.linspace(-DECADES, 0, channels))
        scale_channels(result, group, factors)
    return result


def rounded_per_tensor(graph: Graph) -> Graph:
    """The float32 graph with the weights of each layer rounded to 255 values of one scale."""
    result = copy_graph(graph)
    for node in result.nodes:
        if node.operation in ("conv2d", "linear"):
            weight = constant_value(result, node.inputs["weight"])
            scale = np.abs(weight).max() / 127
            set_constant(result, node, "weight", np.rint(weight / scale) * scale)
    return result

"""Move an activation into the layer that produces its input, as that layer's `activation` attribute."""

from __future__ import annotations

from edgenet.graph import Graph, Node
from edgenet.ops import OPERATIONS

from .rewrite import Index, absorb, sweep

FUSED = {
    "conv2d": ("clamp", "hardswish"),
    "linear": ("clamp", "hardswish"),
    "conv_transpose2d": ("clamp", "hardswish"),
    "add": ("clamp",),
    "sub": ("clamp",),
    "mul": ("clamp",),
    "div": ("clamp",),
    "mask": ("clamp",),
}
"""Kinds fused into each operation: those that its float32 kernel and its int8 arithmetic both compute."""


def _rule(graph: Graph, index: Index, node: Node) -> bool:
    if node.operation != "activation" or not index.private(node.inputs["x"]):
        return False
    producer, activation = index.producer(node.inputs["x"]), node.attributes["activation"]
    if producer is None or activation["kind"] not in FUSED.get(producer.operation, ()):
        return False
    if "activation" not in OPERATIONS[producer.operation].attributes or producer.attributes.get("activation"):
        return False
    producer.attributes["activation"] = activation
    absorb(graph, producer, node)
    return True


def fuse_activation(graph: Graph) -> int:
    """Fuse every activation that follows a layer or arithmetic alone; the number fused."""
    return sweep(graph, _rule)

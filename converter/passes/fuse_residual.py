"""Move an addition into the convolution or linear layer that produces one of its operands, as its `residual` input."""

from __future__ import annotations

from edgenet.graph import Graph, Node

from .affine import is_linear_map
from .fuse_activation import FUSED
from .rewrite import Index, insert_after, remove, sweep


def _rule(graph: Graph, index: Index, node: Node) -> bool:
    if node.operation != "add" or node.inputs["a"] == node.inputs["b"]:
        return False
    activation = node.attributes.get("activation")
    operands = [node.inputs["a"], node.inputs["b"]]
    layers = [index.producer(name) for name in operands]
    pairs = [(layer, other) for layer, other in zip(layers, reversed(operands), strict=True) if layer is not None]
    for layer, other in sorted(pairs, key=lambda pair: -index.positions[id(pair[0])]):
        if layer.operation not in ("conv2d", "linear") or not index.private(layer.output) or not is_linear_map(layer):
            continue
        if activation and activation["kind"] not in FUSED[layer.operation]:
            continue
        shapes = {graph.tensors[name].shape for name in (node.output, layer.output, other)}
        if other in graph.constants or len(shapes) != 1:
            continue
        layer.inputs["residual"] = other
        if activation:
            layer.attributes["activation"] = activation
        remove(graph, layer)
        insert_after(graph, node, layer)
        layer.output = node.output
        remove(graph, node)
        return True
    return False


def fuse_residual(graph: Graph) -> int:
    """Fuse every addition of a layer's result, read only there, and an activation of its shape; the number fused.

    Of two layers the later one takes the addition in, at the place of the addition.
    """
    return sweep(graph, _rule)

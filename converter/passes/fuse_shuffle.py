"""Recognise ShuffleNet's channel shuffle: reshape to groups, swap the last two axes, reshape back."""

from __future__ import annotations

from edgenet.graph import Graph, Node

from .rewrite import Index, sweep


def _rule(graph: Graph, index: Index, node: Node) -> bool:
    swap = index.producer(node.inputs.get("x", ""))
    if node.operation not in ("reshape", "flatten") or swap is None or swap.operation != "permute":
        return False
    split = index.producer(swap.inputs["x"])
    if split is None or split.operation != "reshape":
        return False
    order, source = list(swap.attributes["order"]), split.inputs["x"]
    shape, grouped = graph.tensors[source].shape, graph.tensors[split.output].shape
    rank = len(order)
    if order != [*range(rank - 2), rank - 1, rank - 2] or rank < 3:
        return False
    if grouped[:-2] != shape[:-1] or graph.tensors[node.output].shape != shape:
        return False
    node.operation, node.inputs = "channel_shuffle", {"x": source}
    node.attributes = {"groups": grouped[-2]}
    return True


def fuse_shuffle(graph: Graph) -> int:
    """Replace every such triple by one channel_shuffle; the number replaced."""
    return sweep(graph, _rule)

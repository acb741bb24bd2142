"""Separate the activations that int8 arithmetic cannot fuse, so that each int8 tensor stands in the float32 graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from edgenet.converter.passes.rewrite import copy_graph
from edgenet.graph import Graph, Node

from .placement import LAYERS


def fusable(node: Node, activation: Mapping[str, Any]) -> bool:
    """Whether an int8 node may end in this activation."""
    kind = activation["kind"]
    return kind == "clamp" or (kind == "hardswish" and node.operation in LAYERS)


def split_activations(graph: Graph, keep: Callable[[Node, Mapping[str, Any]], bool] = fusable) -> Graph:
    """A copy in which each fused activation that `keep` refuses is a node of its own, behind the node that had it.

    The new node writes the tensor that the old one wrote; the value before it is named `<tensor>.linear`.
    """
    result = copy_graph(graph)
    result.nodes = []
    for node in copy_graph(graph).nodes:
        activation = node.attributes.get("activation")
        if node.operation == "activation" or not activation or keep(node, activation):
            result.nodes.append(node)
            continue
        before = result.unique_name(f"{node.output}.linear")
        result.tensors[before] = replace(result.tensors[node.output], name=before)
        name = f"{node.name}.{activation['kind']}"
        following = Node("activation", name, {"x": before}, node.output, {"activation": activation}, node.source)
        node.output, node.attributes["activation"] = before, None
        result.nodes += [node, following]
    return result

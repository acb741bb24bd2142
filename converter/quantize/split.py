"""Separate the activations that int8 arithmetic cannot fuse, so that each int8 tensor stands in the float32 graph."""

from __future__ import annotations

from dataclasses import replace

from edgenet.converter.passes.rewrite import copy_graph
from edgenet.graph import Graph, Node

from .placement import LAYERS


def fusable(node: Node, kind: str) -> bool:
    """Whether an int8 node may end in an activation of this kind."""
    return kind == "clamp" or (kind == "hardswish" and node.operation in LAYERS)


def split_activations(graph: Graph) -> Graph:
    """A copy in which every other fused activation is a node of its own, behind the node that had it."""
    result = copy_graph(graph)
    result.nodes = []
    for node in copy_graph(graph).nodes:
        activation = node.attributes.get("activation")
        if node.operation == "activation" or not activation or fusable(node, activation["kind"]):
            result.nodes.append(node)
            continue
        before = result.unique_name(f"{node.output}.linear")
        result.tensors[before] = replace(result.tensors[node.output], name=before)
        name = f"{node.name}.{activation['kind']}"
        following = Node("activation", name, {"x": before}, node.output, {"activation": activation}, node.source)
        node.output, node.attributes["activation"] = before, None
        result.nodes += [node, following]
    return result

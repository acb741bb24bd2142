"""What every pass needs: who writes and reads a tensor, how to remove or rewire a node or give it new weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgenet.graph import Graph, Node, Tensor
from edgenet.ops import infer_shapes, node_types, operation, validate_node, with_defaults


class Index:
    """Producers and readers of a graph's tensors at one moment; made anew after every rewrite."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.producers = graph.producers()
        self.readers = graph.consumers()
        self.positions = {id(node): place for place, node in enumerate(graph.nodes)}

    def alive(self, node: Node) -> bool:
        """Whether `node` is still in the graph."""
        return id(node) in self.positions

    def producer(self, name: str) -> Node | None:
        """The node that writes `name`; None for an input or a constant."""
        return self.producers.get(name)

    def private(self, name: str) -> bool:
        """Whether exactly one node reads activation `name`, and no caller does."""
        return name not in self.graph.outputs and len(self.readers[name]) == 1


Rule = Callable[[Graph, Index, Node], bool]
"""Rewrites the graph around one node where it can, and tells whether it did."""


def sweep(graph: Graph, rule: Rule) -> int:
    """Apply `rule` to every node once, in execution order; the number of rewrites made."""
    count, index = 0, Index(graph)
    for node in list(graph.nodes):
        if index.alive(node) and rule(graph, index, node):
            count, index = count + 1, Index(graph)
    return count


def copy_graph(graph: Graph) -> Graph:
    """A graph that can be rewritten without changing `graph`; arrays are shared and never written to."""
    nodes = [replace(n, inputs=dict(n.inputs), attributes=copy.deepcopy(n.attributes)) for n in graph.nodes]
    metadata = copy.deepcopy(graph.metadata)
    return Graph(dict(graph.tensors), dict(graph.constants), nodes, list(graph.inputs), list(graph.outputs), metadata)


def remove(graph: Graph, node: Node) -> None:
    """Take exactly this node out of the execution order."""
    graph.nodes[:] = [other for other in graph.nodes if other is not node]


def insert_after(graph: Graph, anchor: Node, node: Node) -> None:
    """Put `node` behind `anchor` in the execution order."""
    place = next(i for i, other in enumerate(graph.nodes) if other is anchor)
    graph.nodes.insert(place + 1, node)


def reroute(graph: Graph, old: str, new: str) -> None:
    """Every node that reads tensor `old` reads `new` instead."""
    for node in graph.nodes:
        for role, name in node.inputs.items():
            if name == old:
                node.inputs[role] = new


def bypass(graph: Graph, index: Index, node: Node, source: str) -> bool:
    """Remove `node`, whose output equals tensor `source`. False, and nothing done, where an output needs the node.

    A graph output keeps its name: the producer of `source` then writes under that name.
    """
    if node.output not in graph.outputs:
        reroute(graph, node.output, source)
        remove(graph, node)
        return True
    producer = index.producer(source)
    if producer is None or source in graph.outputs:
        return False
    remove(graph, node)
    reroute(graph, source, node.output)
    producer.output = node.output
    graph.tensors[node.output] = replace(graph.tensors[source], name=node.output)
    return True


def absorb(graph: Graph, producer: Node, node: Node) -> None:
    """`producer`, extended to compute what `node` did, writes the output of `node`, which goes."""
    remove(graph, node)
    producer.output = node.output


def new_activation(graph: Graph, name: str, like: str, shape: tuple[int, ...]) -> str:
    """A new activation of the dtype of `like`; returns its unique name."""
    name = graph.unique_name(name)
    graph.tensors[name] = replace(graph.tensors[like], name=name, shape=shape)
    return name


def retype(graph: Graph, node: Node) -> None:
    """Give the output of `node` the shape that follows from its inputs."""
    found = operation(node).infer(with_defaults(node), node_types(graph, node))
    graph.tensors[node.output] = replace(graph.tensors[node.output], shape=tuple(found))


def set_constant(graph: Graph, node: Node, role: str, array: np.ndarray) -> None:
    """`node` gets `array` (float32) as its `role`; a constant that others read too is left alone."""
    name = node.inputs.get(role)
    array = np.ascontiguousarray(array, np.float32)
    readers = [(n, r) for n in graph.nodes for r, used in n.inputs.items() if used == name]
    if name is None or len(readers) > 1:
        node.inputs[role] = graph.add_constant(f"{node.name}.{role}", array)
    else:
        graph.constants[name] = array
        graph.tensors[name] = Tensor(name, tuple(array.shape))


def check(graph: Graph) -> None:
    """Validate the types of every node. OperationError where a rewrite broke one."""
    infer_shapes(graph)
    for node in graph.nodes:
        validate_node(node, node_types(graph, node), graph.tensors[node.output], graph.constants)

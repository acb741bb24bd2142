"""Which nodes of a float32 graph run in int8, and which tensors share one quantization."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from edgenet.graph import Graph, Node

LAYERS = {"conv2d", "linear"}
"""Operations that gain from int8 and may write either dtype."""
KEEPS_QUANTIZATION = {
    "max_pool2d",
    "slice",
    "pad",
    "reshape",
    "flatten",
    "permute",
    "channel_shuffle",
    "pixel_shuffle",
}
FOLLOWS = {
    "activation",
    "prelu",
    "add",
    "sub",
    "mul",
    "div",
    "concat",
    "avg_pool2d",
    "adaptive_avg_pool2d",
    "mean",
    "resize",
}
"""Operations that run in int8 between int8 neighbours."""
STEEP = {"exp", "reciprocal", "log", "floor", "step"}
"""Activations whose results 256 evenly spaced values do not represent, or that depend on less than such a value."""
MOST_READERS = 8
"""Layers that may share weights in int8, where each rounds them for its own inputs. The steps of a recurrent layer,
which are more, stay float32."""
MAX_PRODUCTS = (2**30 - 1) // (255 * 127)
"""Products that the int32 accumulator of an int8 layer holds."""


@dataclass
class Placement:
    """`int8` holds the names of the nodes that run in int8. By tensor name: `wanted_int8` and `wanted_float` say in
    which forms it is read; `group` names the tensor whose range it shares.
    """

    int8: set[str] = field(default_factory=set)
    wanted_int8: set[str] = field(default_factory=set)
    wanted_float: set[str] = field(default_factory=set)
    group: dict[str, str] = field(default_factory=dict)

    def writes_int8(self, node: Node) -> bool:
        """Whether the node's result is int8 when first computed."""
        return node.name in self.int8 and (node.operation not in LAYERS or node.output in self.wanted_int8)


def activations(graph: Graph, node: Node) -> list[str]:
    """The inputs of a node that are not constants."""
    return [name for name in node.inputs.values() if name not in graph.constants]


def by_channel(graph: Graph, name: str) -> bool:
    """Whether a constant has one value, or one for each index of the last axis."""
    shape = graph.tensors[name].shape
    return all(size == 1 for size in shape[:-1])


def capable(graph: Graph, node: Node) -> bool:
    """Whether `edgenet.ops` has int8 arithmetic for the node."""
    moving = activations(graph, node)
    if not moving or node.inputs.get("x") in graph.constants:
        return False
    if node.operation in LAYERS:
        shape = graph.tensors[node.inputs["weight"]].shape
        products = 1
        for size in shape[1:]:
            products *= size
        return products <= MAX_PRODUCTS and node.inputs.get("residual") not in graph.constants
    if node.operation == "activation":
        return node.attributes["activation"]["kind"] not in STEEP
    if node.operation == "div":
        return node.inputs["b"] in graph.constants and by_channel(graph, node.inputs["b"])
    if node.operation == "concat":
        return len(moving) == len(node.inputs)
    return node.operation in FOLLOWS | KEEPS_QUANTIZATION


def arranges_input(graph: Graph, node: Node) -> bool:
    """Whether the node only brings a graph input into the stored layout."""
    return node.operation == "permute" and node.inputs["x"] in graph.inputs


def _shares_much(graph: Graph) -> set[str]:
    """The layers whose weights more than `MOST_READERS` layers read."""
    weighted = [node for node in graph.nodes if node.operation in LAYERS]
    readers = Counter(node.inputs["weight"] for node in weighted)
    return {node.name for node in weighted if readers[node.inputs["weight"]] > MOST_READERS}


def layers(graph: Graph) -> list[Node]:
    """The layers that can run in int8, in order."""
    out = _shares_much(graph)
    return [n for n in graph.nodes if n.operation in LAYERS and n.name not in out and capable(graph, n)]


def place(graph: Graph, keep: Collection[str] = ()) -> Placement:
    """Decide for every node. Layers run in int8 wherever they can, but for those that `keep` names. What stands between
    them follows when its result is wanted in int8 and one of its inputs is there in int8 (moves: also right after a
    float32 operation). Leaving more layers out never adds a node or tensor to int8.
    """
    placement, keep = Placement(), {*keep, *_shares_much(graph)}
    able = {
        node.name: node.name not in keep and capable(graph, node) and not arranges_input(graph, node)
        for node in graph.nodes
    }
    consumers = graph.consumers()
    useful: set[str] = set()
    for node in reversed(graph.nodes):
        if able[node.name] and (node.operation in LAYERS or node.output in useful):
            useful.update(activations(graph, node))
    present = set(graph.inputs)
    for node in graph.nodes:
        inputs = activations(graph, node)
        near = node.operation in KEEPS_QUANTIZATION or any(name in present for name in inputs)
        if able[node.name] and (node.operation in LAYERS or (node.output in useful and near)):
            placement.int8.add(node.name)
            present.add(node.output)
        elif arranges_input(graph, node):
            present.add(node.output)
    for name, readers in consumers.items():
        if name in graph.constants:
            continue
        if any(node.name in placement.int8 for node in readers):
            placement.wanted_int8.add(name)
        if name in graph.outputs or any(node.name not in placement.int8 for node in readers):
            placement.wanted_float.add(name)
    _share(graph, placement, consumers)
    return placement


def keeps_quantization(node: Node) -> bool:
    """Whether an int8 node's output has the quantization of its input x."""
    return node.operation in KEEPS_QUANTIZATION or (node.operation == "resize" and node.attributes["mode"] == "nearest")


def _share(graph: Graph, placement: Placement, consumers: dict[str, list[Node]]) -> None:
    """Moves share with their input. A concat shares with each input that nothing else reads: the input is then rounded
    once, to the values that the concat stores.
    """
    group = placement.group
    producers = graph.producers()
    for node in graph.nodes:
        for name in (*activations(graph, node), node.output):
            group.setdefault(name, name)
        if node.name in placement.int8 and keeps_quantization(node):
            group[node.output] = group[node.inputs["x"]]
    for node in reversed(graph.nodes):
        if node.operation != "concat" or node.name not in placement.int8:
            continue
        for name in dict.fromkeys(node.inputs.values()):
            chain = [name]
            while _single(graph, consumers, chain[-1]) and group[chain[-1]] != chain[-1]:
                chain.append(producers[chain[-1]].inputs["x"])
            if _single(graph, consumers, chain[-1]):
                for link in chain:
                    group[link] = group[node.output]


def _single(graph: Graph, consumers: dict[str, list[Node]], name: str) -> bool:
    return len(consumers[name]) == 1 and name not in graph.outputs and name not in graph.inputs

"""Move reshapes and permutes behind elementwise nodes, so that they meet and cancel, and layers stand side by side."""

from __future__ import annotations

from edgenet.graph import Graph, Node

from .rewrite import Index, insert_after, new_activation, remove, retype, sweep

MOVES = ("reshape", "flatten", "permute")
BINARY = ("add", "sub", "mul", "div", "mask")


def _keeps_last(graph: Graph, move: Node) -> bool:
    """Whether the last axis of the move's input is the last axis of its output."""
    source, shape = graph.tensors[move.inputs["x"]].shape, graph.tensors[move.output].shape
    if move.operation == "permute":
        return move.attributes["order"][-1] == len(source) - 1
    return source[-1] == shape[-1]


def _fits(graph: Graph, move: Node, name: str) -> bool:
    """Whether the constant operand `name` means the same before the move."""
    shape = graph.tensors[name].shape
    return shape == (1,) or (len(shape) == 1 and _keeps_last(graph, move))


def _moves(graph: Graph, index: Index, node: Node) -> dict[str, Node] | None:
    """The moves in front of `node`, by role, if they can be taken behind it; None otherwise."""
    found: dict[str, Node] = {}
    for role, name in node.inputs.items():
        move = index.producer(name)
        if name in graph.constants:
            continue
        if move is None or move.operation not in MOVES or not index.private(name) or move.inputs["x"] in graph.inputs:
            return None
        found[role] = move
    if not found:
        return None
    first = next(iter(found.values()))
    same = all((m.operation, m.attributes) == (first.operation, first.attributes) for m in found.values())
    shapes = {graph.tensors[m.inputs["x"]].shape for m in found.values()}
    if not same or len(shapes) != 1:
        return None
    if not all(_fits(graph, first, name) for name in node.inputs.values() if name in graph.constants):
        return None
    return found


def _rule(graph: Graph, index: Index, node: Node) -> bool:
    if node.operation not in ("activation", "prelu", *BINARY):
        return False
    moves = _moves(graph, index, node)
    if moves is None:
        return False
    first = next(iter(moves.values()))
    if graph.tensors[node.output].shape != graph.tensors[first.output].shape:
        return False
    for role, move in moves.items():
        node.inputs[role] = move.inputs["x"]
        remove(graph, move)
    moved = Node(first.operation, first.name, {}, node.output, first.attributes, first.source)
    node.output = new_activation(graph, node.name, node.output, ())
    moved.inputs["x"] = node.output
    retype(graph, node)
    insert_after(graph, node, moved)
    return True


def sink_moves(graph: Graph) -> int:
    """Take moves behind activations, PReLU and arithmetic on equally moved operands; the number of nodes passed.

    A move of a graph input stays where it is: the declared layout changes there.
    """
    return sweep(graph, _rule)

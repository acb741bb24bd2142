"""Merge neighbours that only move elements: permute behind permute, reshape behind reshape, clamp behind clamp."""

from __future__ import annotations

from edgenet.graph import Graph, Node

from .rewrite import Index, sweep


def _target(node: Node) -> list[int]:
    """The `shape` attribute that a reshape or flatten stands for."""
    if node.operation == "reshape":
        return list(node.attributes["shape"])
    start = node.attributes.get("start_axis", 1)
    return [0] * start + [-1]


def compose_reshapes(first: list[int], second: list[int]) -> list[int] | None:
    """One reshape attribute for `first` then `second`; None where the copied sizes cannot be expressed.

    >>> compose_reshapes([0, 1, -1, 8], [0, 2, 0, 0])
    [0, 2, -1, 8]
    """
    merged, free = [], -1 in second
    for place, entry in enumerate(second):
        if entry != 0:
            merged.append(entry)
        elif place >= len(first):
            return None
        elif first[place] == -1:
            if free:
                return None
            free = True
            merged.append(-1)
        else:
            merged.append(first[place])
    return merged


def _unit_permute(graph: Graph, node: Node) -> bool:
    """Whether a permute moves only axes of size 1, so that the elements stay in order."""
    shape, order = graph.tensors[node.inputs["x"]].shape, node.attributes["order"]
    moved = [axis for axis in order if shape[axis] != 1]
    return moved == sorted(moved)


def _clamp(first: dict, second: dict) -> dict:
    low, high = first["min"], first["max"]

    def inside(value: float | None, default: float | None) -> float | None:
        if value is None:
            return default
        if second["min"] is not None:
            value = max(value, second["min"])
        return value if second["max"] is None else min(value, second["max"])

    return {"kind": "clamp", "min": inside(low, second["min"]), "max": inside(high, second["max"])}


def _rule(graph: Graph, index: Index, node: Node) -> bool:
    before = index.producer(node.inputs.get("x", ""))
    if before is None:
        return False
    if node.operation == "permute" and before.operation == "permute":
        node.attributes["order"] = [before.attributes["order"][axis] for axis in node.attributes["order"]]
    elif node.operation in ("reshape", "flatten") and before.operation in ("reshape", "flatten"):
        merged = compose_reshapes(_target(before), _target(node))
        if merged is None:
            return False
        node.operation, node.attributes = "reshape", {"shape": merged}
    elif node.operation == "flatten" and before.operation == "permute":
        if graph.tensors[node.output].shape != _flat(graph, before) or not _unit_permute(graph, before):
            return False
    elif node.operation == "activation" and _clamps(node) and _clamps(before):
        if not index.private(before.output):
            return False
        before.attributes["activation"] = _clamp(before.attributes["activation"], node.attributes["activation"])
        before.output = node.output
        graph.nodes[:] = [other for other in graph.nodes if other is not node]
        return True
    else:
        return False
    node.inputs["x"] = before.inputs["x"]
    return True


def _flat(graph: Graph, node: Node) -> tuple[int, ...]:
    """Shape of a node's output once flattened behind the batch."""
    shape, count = graph.tensors[node.output].shape, 1
    for size in shape[1:]:
        count *= size
    return shape[0], count


def _clamps(node: Node) -> bool:
    return (node.attributes.get("activation") or {}).get("kind") == "clamp"


def merge_moves(graph: Graph) -> int:
    """Merge pairs of permutes, reshapes or clamps, and a flatten with a permute of size-1 axes; the number merged."""
    return sweep(graph, _rule)

"""Drop nodes that leave their input as it is."""

from __future__ import annotations

from edgenet.graph import Graph, Node
from edgenet.ops import complete_attributes

from .affine import as_affine
from .rewrite import Index, bypass, sweep


def _source(graph: Graph, node: Node) -> str | None:
    """The tensor that the output of `node` equals, or None."""
    if node.operation in ("conv2d", "add", "sub", "mul", "div"):
        affine = as_affine(graph, node)
        return affine.x if affine and (affine.scale == 1).all() and not affine.shift.any() else None
    x = node.inputs.get("x", node.inputs.get("x0", ""))
    if not x or graph.tensors[x].shape != graph.tensors[node.output].shape:
        return None
    a = complete_attributes(node)
    if node.operation == "activation":
        kind = a["activation"]
        same = kind["kind"] == "clamp" and kind["min"] is None and kind["max"] is None
    elif node.operation == "slice":
        same = a["step"] == 1
    elif node.operation == "pad":
        same = not any(a["pads"])
    elif node.operation == "permute":
        same = list(a["order"]) == sorted(a["order"])
    elif node.operation == "concat":
        same = len(node.inputs) == 1
    elif node.operation in ("avg_pool2d", "max_pool2d"):
        same = list(a["kernel"]) == [1, 1] and not a.get("divisor")
    elif node.operation == "channel_shuffle":
        same = a["groups"] in (1, graph.tensors[x].shape[-1])
    elif node.operation == "resize":
        same = a["size"] is None and list(a["scale"]) == [1.0, 1.0]
    else:
        same = node.operation in ("reshape", "flatten") or (node.operation == "pixel_shuffle" and a["factor"] == 1)
    return x if same else None


def _rule(graph: Graph, index: Index, node: Node) -> bool:
    source = _source(graph, node)
    return source is not None and bypass(graph, index, node, source)


def drop_identity(graph: Graph) -> int:
    """Remove every node without effect that is not needed to tell an output from an input; the number removed."""
    return sweep(graph, _rule)

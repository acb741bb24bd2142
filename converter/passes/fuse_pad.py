"""Move padding of H and W into the `padding` of the convolution or pooling behind it: zeros, or the lowest number."""

from __future__ import annotations

import numpy as np

from edgenet.graph import Graph, Node
from edgenet.ops import complete_attributes

from .rewrite import Index, remove, sweep

LOWEST = float(np.finfo(np.float32).min)
"""The lowest finite float32, the value of a pad that never wins in a max pooling."""


def _accepts(node: Node, name: str, pads: list[int], value: float) -> bool:
    """Whether `node` reads `name` as a window over x that can pad it by itself."""
    if [role for role, used in node.inputs.items() if used == name] != ["x"]:
        return False
    if node.operation == "conv2d":
        return value == 0
    if node.operation != ("max_pool2d" if value == LOWEST else "avg_pool2d"):
        return False
    a = complete_attributes(node)
    halves = all(2 * pad <= a["kernel"][side // 2] for side, pad in enumerate(pads))
    return halves and not any(a["padding"]) and not a["ceil_mode"]


def _rule(graph: Graph, index: Index, node: Node) -> bool:
    value = node.attributes.get("value", 0)
    if node.operation != "pad" or value not in (0, LOWEST) or node.output in graph.outputs:
        return False
    pads = list(node.attributes["pads"])
    if len(pads) != 8 or any(pads[6:]):
        return False
    readers = index.readers[node.output]
    if not readers or not all(_accepts(reader, node.output, pads[2:6], value) for reader in readers):
        return False
    for reader in readers:
        before = complete_attributes(reader)["padding"]
        reader.attributes["padding"] = [p + q for p, q in zip(before, pads[2:6], strict=True)]
        if reader.operation == "avg_pool2d":
            reader.attributes["count_include_pad"] = True
        reader.inputs["x"] = node.inputs["x"]
    remove(graph, node)
    return True


def fuse_pad(graph: Graph) -> int:
    """Fuse every pad whose readers can all pad by themselves; the number fused."""
    return sweep(graph, _rule)

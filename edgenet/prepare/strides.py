"""Distances between pixels that spare the caches: a depthwise tile reads and writes the same channels of many pixels.

With a power of two of bytes from pixel to pixel, or from row to row, these lie in few sets of the first-level cache and
push each other out. Where registers are as wide as a cache line, pixels that are not whole registers begin in the
middle of lines, and most of what is loaded or stored crosses from one into the next.
"""

from __future__ import annotations

import math

from edgenet.graph import Node
from edgenet.ops import OPERATIONS, with_defaults
from edgenet.prepare.lower_winograd import winograd_tile
from edgenet.prepare.lowering import ELEMENT_BYTES, Lowering

_ALIASING = 1024
"""Pixels that lie a multiple of so many bytes apart share a quarter of the sets, or less."""
ALIASED_ROWS = 4096
"""Rows that lie a multiple of so many bytes apart share cache sets: a tile of many of them pushes itself out."""
LINE_BYTES = 64
_LARGE_PIXEL = 256
"""Pixels of so many bytes take at most a quarter more with a line between them."""
_MOST_FILLING = 4
"""Pixels are filled up to whole registers where that adds one of so many parts at most."""
_SMALL_IMAGE = 256 << 10
"""An image of up to so many bytes may take half as much again: it stays in the second-level cache."""


def spread_pixels(lowering: Lowering) -> dict[str, int]:
    """Bytes from one pixel to the next, by tensor, where these are more than the channels take.

    That needs kernels that take any distance on both sides: direct convolutions write it, and read it.
    """
    graph = lowering.graph
    nodes = [with_defaults(node) if node.operation in OPERATIONS else node for node in graph.nodes]
    readers: dict[str, list[tuple[str, Node]]] = {}
    for node in nodes:
        for role, name in node.inputs.items():
            readers.setdefault(name, []).append((role, node))
    found = {}
    for node in nodes:
        name = node.output
        if name in graph.outputs or not _direct(node, lowering):
            continue
        size = lowering.shape(name)[-1] * ELEMENT_BYTES[lowering.dtype(name)]
        distance = _distance(lowering.shape(name), size, lowering.target.lanes * ELEMENT_BYTES["float32"])
        users = readers.get(name, [])
        if (
            distance > size
            and all(role == "x" and _direct(user, lowering) for role, user in users)
            and (_depthwise(node, lowering) or any(_depthwise(user, lowering) for _, user in users))
        ):
            found[name] = distance
    return found


def _distance(shape: tuple[int, ...], size: int, register: int) -> int:
    """Bytes from one pixel of `size` bytes to the next: `size` where no other distance is worth it.

    Pixels that are filled up lie no multiple of half of what aliases apart either: wide tiles have many pixels.
    """
    filled = -(-size // register) * register
    if filled > size:
        if filled % (_ALIASING // 2) == 0 or _aliases(shape, filled):
            filled += LINE_BYTES
        return filled if filled - size <= size // _MOST_FILLING else size
    return size + LINE_BYTES if _aliases(shape, size) else size


def _aliases(shape: tuple[int, ...], size: int) -> bool:
    """Whether pixels of `size` bytes, or their rows, fall into few cache sets, and a line between them costs little."""
    costs_little = size >= _LARGE_PIXEL or math.prod(shape[1:-1]) * size <= _SMALL_IMAGE
    in_few_sets = size % _ALIASING == 0 or shape[-2] * size % ALIASED_ROWS == 0
    return costs_little and in_few_sets and size % LINE_BYTES == 0


def _direct(node: Node, lowering: Lowering) -> bool:
    if node.operation == "planar_conv2d":
        return True
    return (
        node.operation == "conv2d"
        and lowering.dtype(node.inputs["x"]) == "float32"
        and (_depthwise(node, lowering) or winograd_tile(node, lowering) is None)
    )


def _depthwise(node: Node, lowering: Lowering) -> bool:
    return node.operation == "conv2d" and node.attributes.get("groups", 1) == lowering.shape(node.inputs["x"])[-1] > 1

"""Which rows of its inputs an operation needs for some rows of its output: what computing by bands of rows rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgenet.graph import Graph, Node, Tensor
from edgenet.ops import OPERATIONS, complete_attributes
from edgenet.prepare.lowering import ELEMENT_BYTES

_SAME_ROW = frozenset(
    ("activation", "prelu", "add", "sub", "mul", "div", "mask", "quantize", "dequantize", "requantize", "table",
     "channel_shuffle", "concat", "slice")
)  # fmt: skip
"""Operations that make an output row of the same row of each input."""
_WINDOWS = frozenset(("conv2d", "planar_conv2d", "max_pool2d", "avg_pool2d"))
_CHANNELS = 3
_NHWC = [0, 2, 3, 1]
_PLANES = 3


@dataclass(frozen=True)
class RowInput:
    """How an input is read: output row r needs the rows r * stride - before .. r * stride - before + extent - 1.

    `planes`: the input lies channels-first. `whole`: every output row reads all of the image (one row, broadcast).
    """

    extent: int = 1
    stride: int = 1
    before: int = 0
    planes: bool = False
    whole: bool = False

    def first(self, row: int) -> int:
        """The first input row that output row `row` needs, at least 0."""
        return max(0, row * self.stride - self.before)

    def end(self, rows: int, height: int) -> int:
        """The row after the last that the output rows before `rows` need of an input of `height` rows."""
        return min(height, (rows - 1) * self.stride - self.before + self.extent)


def height_of(tensor: Tensor, planes: bool = False) -> int:
    """Rows of an image tensor, channels-last or (`planes`) channels-first."""
    return tensor.shape[2 if planes else 1]


def row_bytes(tensor: Tensor) -> int:
    """Bytes of one row of a channels-last image whose pixels follow each other directly, as planners take them to."""
    return math.prod(tensor.shape[2:]) * ELEMENT_BYTES[tensor.dtype]


def row_inputs(graph: Graph, node: Node, tensors: Mapping[str, Tensor]) -> dict[str, RowInput] | None:
    """How `node` reads each input that is no constant, by role; None when it is not computed by rows.

    `tensors` have concrete shapes.
    """
    out = tensors[node.output]
    if len(out.shape) != 4 or out.shape[1] < 2:
        return None
    if node.operation in _WINDOWS:
        return _window(graph, node, tensors)
    if node.operation == "permute_quantize":
        x = tensors[node.inputs["x"]]
        interleaved = list(node.attributes["order"]) == _NHWC and x.shape[1] == _PLANES
        return {"x": RowInput(planes=True)} if interleaved else None
    if node.operation not in _SAME_ROW:
        return None
    if node.operation in ("concat", "slice") and complete_attributes(node)["axis"] != _CHANNELS:
        return None
    return _same_row(graph, node, tensors)


def _same_row(graph: Graph, node: Node, tensors: Mapping[str, Tensor]) -> dict[str, RowInput] | None:
    out, found = tensors[node.output].shape, {}
    for role, name in node.inputs.items():
        shape = tensors[name].shape
        if name in graph.constants:
            if any(shape[axis : axis + 1] not in ((), (1,)) for axis in (-3, -4)):  # rows and images alike
                return None
        elif len(shape) != len(out) or shape[0] != out[0] or shape[1] not in (1, out[1]):
            return None
        else:
            found[role] = RowInput(whole=shape[1] == 1)
    return found


def _window(graph: Graph, node: Node, tensors: Mapping[str, Tensor]) -> dict[str, RowInput] | None:
    planes = node.operation == "planar_conv2d"
    a = node.attributes if planes else complete_attributes(node)
    if node.operation in OPERATIONS and node.operation != "conv2d":
        kernel, dilation = a["kernel"][0], a.get("dilation", [1])[0]
    else:
        kernel, dilation = tensors[node.inputs["weight"]].shape[1], a["dilation"][0]
    x = RowInput((kernel - 1) * dilation + 1, a["stride"][0], a["padding"][0], planes)
    height, rows = height_of(tensors[node.inputs["x"]], planes), height_of(tensors[node.output])
    if node.inputs["x"] in graph.constants or x.before >= x.extent or (rows - 1) * x.stride - x.before >= height:
        return None
    found = {"x": x}
    if "residual" in node.inputs:
        if node.inputs["residual"] in graph.constants:
            return None
        found["residual"] = RowInput()
    return found


def row_padding(how: RowInput, padding: list[int], first: int, last: int, height: int) -> list[int]:
    """The (top, bottom, left, right) padding of the output rows first..last-1 alone; `padding` that of all rows."""
    top = max(0, how.before - first * how.stride)
    bottom = max(0, (last - 1) * how.stride - how.before + how.extent - height)
    return [top, min(bottom, padding[1]), padding[2], padding[3]]

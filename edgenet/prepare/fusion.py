"""Rewrites of the graph that belong to the CPU that runs it, before its nodes are lowered.

They work on concrete shapes and never change results beyond the equality class of the operations involved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgenet.graph import Graph, Node, Tensor
from edgenet.ops import complete_attributes, constant_value
from edgenet.prepare.lowering import IMAGE_CHANNELS

_EPILOGUE = {
    "conv2d": ("clamp", "hardswish"),
    "linear": ("clamp", "hardswish"),
}
"""Activations that the epilogue of an operation's kernels has; others become a step of their own."""
_NHWC = [0, 2, 3, 1]


def fuse(graph: Graph, tensors: dict[str, Tensor]) -> Graph:
    """The graph to lower. `tensors` (concrete shapes) receives the tensors that rewrites add."""
    graph = replace(graph, nodes=list(graph.nodes), constants=dict(graph.constants), tensors=dict(graph.tensors))
    for rewrite in _REWRITES:
        rewrite(graph, tensors)
    return graph


def _split_activations(graph: Graph, tensors: dict[str, Tensor]) -> None:
    """An activation that the kernel's epilogue lacks becomes an activation node."""
    nodes = []
    for node in graph.nodes:
        activation = node.attributes.get("activation")
        if node.operation not in _EPILOGUE or not activation or activation["kind"] in _EPILOGUE[node.operation]:
            nodes.append(node)
            continue
        name = _new_tensor(graph, tensors, f"{node.output}.sum", tensors[node.output])
        nodes.append(replace(node, output=name, attributes={**node.attributes, "activation": None}))
        nodes.append(Node("activation", node.name, {"x": name}, node.output, {"activation": activation}))
    graph.nodes = nodes


def _read_planes(graph: Graph, tensors: dict[str, Tensor]) -> None:
    """A first convolution reads the caller's channels-first image directly (float32)."""
    consumers = graph.consumers()

    def planar(node: Node) -> bool:
        source = node.inputs.get("x", "")
        if node.operation != "permute" or list(node.attributes["order"]) != _NHWC or source not in graph.inputs:
            return False
        readers = consumers[node.output]
        return (
            node.output not in graph.outputs
            and bool(readers)
            and all(_takes_planes(r, node.output, tensors) for r in readers)
        )

    _bypass(graph, planar, "planar_conv2d")


def _takes_planes(node: Node, name: str, tensors: dict[str, Tensor]) -> bool:
    if node.operation != "conv2d":
        return False
    attributes = complete_attributes(node)
    return (
        node.inputs["x"] == name
        and node.inputs.get("residual") != name
        and tensors[name].dtype == "float32"
        and tensors[name].shape[3] <= IMAGE_CHANNELS
        and attributes["groups"] == 1
        and list(attributes["dilation"]) == [1, 1]
    )


def _bypass(graph: Graph, removable: Callable[[Node], bool], operation: str) -> None:
    """Remove nodes; their readers become `operation` on the removed node's input."""
    gone = {node.output: node.inputs["x"] for node in graph.nodes if removable(node)}
    nodes = []
    for node in graph.nodes:
        if node.output in gone:
            continue
        if node.inputs.get("x") in gone:
            source = gone[node.inputs["x"]]
            node = replace(
                node, operation=operation, inputs={**node.inputs, "x": source}, attributes=complete_attributes(node)
            )
        nodes.append(node)
    graph.nodes = nodes


def _quantize_planes(graph: Graph, tensors: dict[str, Tensor]) -> None:
    """permute followed by quantize is one step."""
    consumers, producers = graph.consumers(), graph.producers()
    gone, nodes = set(), []
    for node in graph.nodes:
        before = producers.get(node.inputs.get("x", ""))
        if (
            node.operation == "quantize"
            and before is not None
            and before.operation == "permute"
            and len(consumers[before.output]) == 1
            and before.output not in graph.outputs
        ):
            gone.add(before.output)
            attributes = {"order": before.attributes["order"], "inverse_scale": node.attributes["inverse_scale"]}
            node = Node("permute_quantize", node.name, {"x": before.inputs["x"]}, node.output, attributes)
        nodes.append(node)
    graph.nodes = [node for node in nodes if node.output not in gone]


def _stuff_zeros(graph: Graph, tensors: dict[str, Tensor]) -> None:
    """A transposed convolution is a convolution of its input with zeros between the pixels, by the flipped kernel."""
    nodes = []
    flipped: dict[str, str] = {}
    for node in graph.nodes:
        if node.operation != "conv_transpose2d":
            nodes.append(node)
            continue
        a = complete_attributes(node)
        weight = graph.tensors[node.inputs["weight"]]
        x, y = tensors[node.inputs["x"]].shape, tensors[node.output].shape
        if weight.name not in flipped:
            flipped[weight.name] = _flip(graph, tensors, weight.name)
        sizes, crops, pads = zip(
            *(
                _stuffed_axis(
                    x[1 + axis], y[1 + axis], a["stride"][axis], a["dilation"][axis] * (weight.shape[1 + axis] - 1),
                    a["padding"][2 * axis],
                )
                for axis in (0, 1)
            ),
            strict=True,
        )  # fmt: skip
        source = node.inputs["x"]
        if list(a["stride"]) != [1, 1] or sizes != x[1:3] or any(crops):
            shape = (x[0], *sizes, x[3])
            source = _new_tensor(graph, tensors, f"{node.output}.stuffed", replace(tensors[source], shape=shape))
            attributes = {"stride": list(a["stride"]), "crop": list(crops)}
            nodes.append(Node("zero_stuff", node.name, {"x": node.inputs["x"]}, source, attributes))
        inputs = {**node.inputs, "x": source, "weight": flipped[weight.name]}
        attributes = {"padding": [*pads[0], *pads[1]], "dilation": list(a["dilation"]), "groups": a["groups"]}
        attributes["activation"] = a["activation"]
        nodes.append(Node("conv2d", node.name, inputs, node.output, attributes))
    graph.nodes = nodes


def _stuffed_axis(size: int, out: int, stride: int, reach: int, padding: int) -> tuple[int, int, tuple[int, int]]:
    """Of one axis of a transposed convolution: the stuffed image's size, the pixels left out before, the zeros around.

    `reach`: the kernel's pixels beyond the first, with dilation; `padding`: that before the image.
    """
    stuffed, before = (size - 1) * stride + 1, reach - padding
    after = out + reach - before - stuffed
    kept = stuffed + min(before, 0) + min(after, 0)
    if kept < 1:  # the output lies beside all that the image reaches: one of the zeros behind it stands for it
        return 1, stuffed, (out + reach - 1, 0)
    return kept, max(-before, 0), (max(before, 0), max(after, 0))


def _flip(graph: Graph, tensors: dict[str, Tensor], weight: str) -> str:
    """A new constant: the weights of a convolution, turned by half a turn."""
    name = graph.add_constant(f"{weight}.flipped", np.ascontiguousarray(constant_value(graph, weight)[:, ::-1, ::-1]))
    tensors[name] = graph.tensors[name]
    return name


def _new_tensor(graph: Graph, tensors: dict[str, Tensor], name: str, like: Tensor) -> str:
    name = graph.unique_name(name)
    graph.tensors[name] = tensors[name] = replace(like, name=name)
    return name


_REWRITES = (_stuff_zeros, _split_activations, _read_planes, _quantize_planes)

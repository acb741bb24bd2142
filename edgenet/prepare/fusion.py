"""Rewrites of the graph that belong to the CPU that runs it, before its nodes are lowered.

They work on concrete shapes and never change results beyond the equality class of the operations involved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgenet.graph import Graph, Node, Tensor
from edgenet.kernels.isa import InstructionSet
from edgenet.ops import complete_attributes, constant_value

_EPILOGUE = {
    "conv2d": ("clamp", "hardswish"),
    "linear": ("clamp", "hardswish"),
    "conv_transpose2d": (),
}
"""Activations that the epilogue of an operation's kernels has; others become a step of their own."""
_NHWC = [0, 2, 3, 1]
_IMAGE_CHANNELS = 4


def fuse(graph: Graph, tensors: dict[str, Tensor], target: InstructionSet) -> Graph:
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
        and tensors[name].shape[3] <= _IMAGE_CHANNELS
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
    for node in graph.nodes:
        if node.operation != "conv_transpose2d":
            nodes.append(node)
            continue
        a = complete_attributes(node)
        weight = constant_value(graph, node.inputs["weight"])
        x, y = tensors[node.inputs["x"]].shape, tensors[node.output].shape
        (sh, sw), (dh, dw), (top, _, left, _) = a["stride"], a["dilation"], a["padding"]
        before = [dh * (weight.shape[1] - 1) - top, dw * (weight.shape[2] - 1) - left]
        stuffed = [(x[1] - 1) * sh + 1, (x[2] - 1) * sw + 1]
        after = [y[1] - 1 + dh * (weight.shape[1] - 1) + 1 - before[0] - stuffed[0], 0]
        after[1] = y[2] - 1 + dw * (weight.shape[2] - 1) + 1 - before[1] - stuffed[1]
        pads = [before[0], after[0], before[1], after[1]]
        flipped = graph.add_constant(f"{node.inputs['weight']}.flipped", np.ascontiguousarray(weight[:, ::-1, ::-1]))
        tensors[flipped] = graph.tensors[flipped]
        source = node.inputs["x"]
        if (sh, sw) != (1, 1) or min(pads) < 0:
            shape = (
                x[0],
                stuffed[0] + min(pads[0], 0) + min(pads[1], 0),
                stuffed[1] + min(pads[2], 0) + min(pads[3], 0),
                x[3],
            )
            source = _new_tensor(graph, tensors, f"{node.output}.stuffed", replace(tensors[source], shape=shape))
            attributes = {"stride": [sh, sw], "crop": [max(-pads[0], 0), max(-pads[2], 0)]}
            nodes.append(Node("zero_stuff", node.name, {"x": node.inputs["x"]}, source, attributes))
        inputs = {**node.inputs, "x": source, "weight": flipped}
        attributes = {"padding": [max(p, 0) for p in pads], "dilation": [dh, dw], "groups": a["groups"]}
        attributes["activation"] = a["activation"]
        nodes.append(Node("conv2d", node.name, inputs, node.output, attributes))
    graph.nodes = nodes


def _new_tensor(graph: Graph, tensors: dict[str, Tensor], name: str, like: Tensor) -> str:
    name = graph.unique_name(name)
    graph.tensors[name] = tensors[name] = replace(like, name=name)
    return name


_REWRITES = (_stuff_zeros, _split_activations, _read_planes, _quantize_planes)

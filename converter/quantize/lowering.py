"""Writes the int8 graph: quantize and dequantize nodes, tensors with their quantization, one function per operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from edgenet.graph import Graph, Node, Quantization, Tensor
from edgenet.ops import complete_attributes, constant_value, node_types, operation, validate_node, with_defaults
from edgenet.ops.arithmetic import activate, build_table, quantize_array

from .calibration import Progress
from .placement import KEEPS_QUANTIZATION, LAYERS, Placement, activations, by_channel, keeps_quantization
from .ranges import quantization as quantization_of
from .weights import IntegerWeights, quantize_weights

Attributes = dict[str, Any]
RoundLayer = Callable[[Node, float, float | None], IntegerWeights]
"""The int8 form of a layer's weights and bias, for an input of the given scale and an output of the second, if int8."""


@dataclass
class Lowering:
    """The float32 graph `source`, where its nodes run, the quantization of each tensor, and the int8 `graph` so far.

    `int8` and `float32` name, by tensor of the source, the tensor of the graph that holds it in that form; `origins`
    gives the node of the source that each node of the graph comes from (quantize nodes of inputs: none), by name.
    """

    source: Graph
    placement: Placement
    quantizations: Mapping[str, Quantization]
    graph: Graph
    round_layer: RoundLayer

    def __post_init__(self) -> None:
        self.int8: dict[str, str] = {}
        self.float32: dict[str, str] = {}
        self.origins: dict[str, Node] = {}
        self.names = {node.name for node in self.source.nodes}

    def quantization(self, name: str) -> Quantization:
        """Quantization of a float32 graph's tensor."""
        return self.quantizations[self.placement.group[name]]

    def scale(self, name: str) -> float:
        return self.quantization(name).scale[0]

    def constant(self, name: str) -> np.ndarray:
        """Constant of the float32 graph."""
        return constant_value(self.source, name)

    def emit(
        self, kind: str, name: str, inputs: dict[str, str], attributes: Attributes, output: Tensor, source: str
    ) -> None:
        """Append a node that writes `output`; its shape is inferred and the node validated."""
        node = Node(kind, name, inputs, output.name, attributes, source)
        types = node_types(self.graph, node)
        output = replace(output, shape=tuple(operation(node).infer(with_defaults(node), types)))
        validate_node(node, types, output, self.graph.constants)
        self.graph.tensors[output.name] = output
        self.graph.nodes.append(node)

    def derived(self, name: str) -> str:
        """`name`, or `name.1`, ...: not yet the name of a node."""
        candidate, suffix = name, 0
        while candidate in self.names:
            suffix += 1
            candidate = f"{name}.{suffix}"
        self.names.add(candidate)
        return candidate

    def present(self, name: str, dtype: str) -> None:
        """Tensor `name` of the float32 graph has been written as `dtype`; convert it if it is read as the other too."""
        if dtype == "int8" and name in self.placement.wanted_float:
            target = name if name in self.source.outputs else self.graph.unique_name(f"{name}.dequantized")
            self.float32[name] = target
            label = self.derived(f"{name}.dequantize")
            self.emit("dequantize", label, {"x": self.int8[name]}, {}, Tensor(target, ()), "")
        if dtype == "float32" and name in self.placement.wanted_int8:
            target = self.graph.unique_name(f"{name}.quantized")
            self.int8[name] = target
            inverse = float(np.float32(1.0 / self.scale(name)))
            output = Tensor(target, (), "int8", self.quantization(name))
            label = self.derived(f"{name}.quantize")
            self.emit("quantize", label, {"x": self.float32[name]}, {"inverse_scale": inverse}, output, "")

    def write(
        self, node: Node, inputs: dict[str, str], attributes: Attributes, dtype: str = "int8", kind: str | None = None
    ) -> None:
        """Append the form of `node` that writes `dtype`, under the same name."""
        name = node.output
        if dtype == "int8":
            taken = name in self.source.outputs
            stored = self.graph.unique_name(f"{name}.int8") if taken else name
            self.int8[name] = stored
            output = Tensor(stored, (), "int8", self.quantization(name))
        else:
            self.float32[name] = name
            output = Tensor(name, ())
        self.emit(kind or node.operation, node.name, inputs, attributes, output, node.source)
        self.present(name, dtype)

    def copy_constant(self, name: str) -> str:
        """A float32 node's constant, stored as in the source."""
        if name not in self.graph.constants:
            self.graph.constants[name] = self.source.constants[name]
            self.graph.tensors[name] = self.source.tensors[name]
        return name


def layer_constants(graph: Graph, node: Node) -> tuple[np.ndarray, np.ndarray | None]:
    """(weight, bias or None) of a float32 layer."""
    bias = constant_value(graph, node.inputs["bias"]) if "bias" in node.inputs else None
    return constant_value(graph, node.inputs["weight"]), bias


def rounded_to_nearest(graph: Graph, node: Node, input_scale: float, output_scale: float | None) -> IntegerWeights:
    """A layer's weights, each rounded to nearest."""
    return quantize_weights(*layer_constants(graph, node), input_scale, output_scale=output_scale)


def multiplier(value: float) -> float:
    """A stored multiplier: the nearest float32."""
    return float(np.float32(value))


def clamp_codes(activation: Mapping[str, Any] | None, result: Quantization) -> Attributes:
    """q_min and q_max of a fused clamp."""
    bounds: Attributes = {}
    for key, end in (("q_min", "min"), ("q_max", "max")):
        value = activation.get(end) if activation else None
        if value is not None:
            bounds[key] = int(np.clip(np.rint(value / result.scale[0]) + result.zero_point, -128, 127))
    return bounds


def lower_layer(low: Lowering, node: Node) -> None:
    """conv2d and linear."""
    attributes = complete_attributes(node)
    activation = attributes["activation"]
    x, name = node.inputs["x"], node.inputs["weight"]
    int8 = node.output in low.placement.wanted_int8
    swish = activation is not None and activation["kind"] == "hardswish"
    step = 1.0 if swish or not int8 else low.scale(node.output)
    integers = low.round_layer(node, low.scale(x), low.scale(node.output) if int8 else None)
    factors = (low.scale(x) * integers.scale / step).astype(np.float32)
    inputs = {"x": low.int8[x], "weight": low.graph.add_constant(name, integers.weight)}
    inputs["bias"] = low.graph.add_constant(node.inputs.get("bias", f"{node.name}.bias"), integers.bias)
    inputs["multiplier"] = low.graph.add_constant(f"{node.name}.multiplier", factors)
    kept = {key: value for key, value in node.attributes.items() if key != "activation"}
    if "residual" in node.inputs:
        inputs["residual"] = low.int8[node.inputs["residual"]]
        kept["residual_multiplier"] = multiplier(low.scale(node.inputs["residual"]) / step)
    if int8 and swish:
        kept |= {"activation": activation, "output_multiplier": multiplier(1 / (6 * low.scale(node.output)))}
        low.write(node, inputs, kept)
    elif int8:
        low.write(node, inputs, kept | clamp_codes(activation, low.quantization(node.output)))
    elif swish:
        before = low.graph.unique_name(f"{node.output}.linear")
        low.emit(node.operation, low.derived(f"{node.name}.linear"), inputs, kept, Tensor(before, ()), node.source)
        low.write(node, {"x": before}, {"activation": activation}, "float32", "activation")
    else:
        low.write(node, inputs, kept | {"activation": activation}, "float32")


def lower_move(low: Lowering, node: Node) -> None:
    """Operations that keep the quantization."""
    attributes = dict(node.attributes)
    if node.operation == "pad":
        q = low.quantization(node.output)
        value = complete_attributes(node)["value"]
        attributes["quantized_value"] = int(np.clip(np.rint(value / q.scale[0]) + q.zero_point, -128, 127))
    low.write(node, {"x": low.int8[node.inputs["x"]]}, attributes)


def lower_rescaling(low: Lowering, node: Node) -> None:
    """Averages and bilinear resize: one multiplier."""
    factor = multiplier(low.scale(node.inputs["x"]) / low.scale(node.output))
    low.write(node, {"x": low.int8[node.inputs["x"]]}, {**node.attributes, "multiplier": factor})


def lower_concat(low: Lowering, node: Node) -> None:
    own = low.scale(node.output)
    factors = [multiplier(low.scale(name) / own) for name in node.inputs.values()]
    inputs = {role: low.int8[name] for role, name in node.inputs.items()}
    low.write(node, inputs, {**node.attributes, "multipliers": factors})


def real_function(low: Lowering, node: Node) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """(input tensor, function of real values [256] to [256] or [C, 256]) of a node with one activation as input."""
    activation = node.attributes.get("activation")
    if node.operation == "activation":
        return node.inputs["x"], lambda v: activate(v, activation)
    role = "slope" if node.operation == "prelu" else "a" if node.inputs["a"] in low.source.constants else "b"
    other = {"slope": "x", "a": "b", "b": "a"}[role]
    constant = low.constant(node.inputs[role]).astype(np.float64).reshape(-1)
    k = constant if constant.size == 1 else constant[:, None]
    functions: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "prelu": lambda v: np.where(v >= 0, v, v * k),
        "add": lambda v: v + k,
        "mul": lambda v: v * k,
        "sub": (lambda v: k - v) if role == "a" else (lambda v: v - k),
        "div": lambda v: v / k,
    }
    return node.inputs[other], lambda v: activate(functions[node.operation](v), activation)


def lower_table(low: Lowering, node: Node) -> None:
    """A function of one tensor: all its 256 results."""
    x, function = real_function(low, node)
    table = build_table(function, low.quantization(x), low.quantization(node.output))
    constant = low.graph.add_constant(f"{node.name}.table", table)
    low.write(node, {"x": low.int8[x], "table": constant}, {}, kind="table")


def int8_operand(low: Lowering, name: str) -> tuple[str, float]:
    """(int8 tensor, its scale) of an operand of add, sub or mul."""
    if name not in low.source.constants:
        return low.int8[name], low.scale(name)
    value = low.constant(name)
    q = quantization_of(float(value.min()), float(value.max()))
    return low.graph.add_constant(name, quantize_array(value, q), q), q.scale[0]


def lower_binary(low: Lowering, node: Node) -> None:
    """add, sub, mul, div."""
    constants = [name for name in node.inputs.values() if name in low.source.constants]
    if constants and by_channel(low.source, constants[0]) and fits_table(low.source, node, constants[0]):
        lower_table(low, node)
        return
    (a, scale_a), (b, scale_b) = (int8_operand(low, node.inputs[role]) for role in ("a", "b"))
    result = low.quantization(node.output)
    if node.operation == "mul":
        attributes = {"multiplier": multiplier(scale_a * scale_b / result.scale[0])}
    else:
        attributes = {
            "multiplier_a": multiplier(scale_a / result.scale[0]),
            "multiplier_b": multiplier(scale_b / result.scale[0]),
        }
    bounds = clamp_codes(node.attributes.get("activation"), result)
    low.write(node, {"a": a, "b": b}, attributes | bounds)


def fits_table(graph: Graph, node: Node, constant: str) -> bool:
    """Whether the result has the shape of the activation: nothing is broadcast along its last axis."""
    x = activations(graph, node)[0]
    return graph.tensors[node.output].shape == graph.tensors[x].shape and graph.constants[constant].size in (
        1,
        graph.tensors[x].shape[-1],
    )


def lower_float(low: Lowering, node: Node) -> None:
    """A node that stays float32."""
    inputs = {
        role: low.copy_constant(name) if name in low.source.constants else low.float32[name]
        for role, name in node.inputs.items()
    }
    low.write(node, inputs, dict(node.attributes), "float32")


def lower_node(low: Lowering, node: Node) -> None:
    if node.name not in low.placement.int8:
        lower_float(low, node)
    elif node.operation in LAYERS:
        lower_layer(low, node)
    elif node.operation in KEEPS_QUANTIZATION or keeps_quantization(node):
        lower_move(low, node)
    elif node.operation == "concat":
        lower_concat(low, node)
    elif node.operation in ("add", "sub", "mul", "div"):
        lower_binary(low, node)
    elif node.operation in ("activation", "prelu"):
        lower_table(low, node)
    else:
        lower_rescaling(low, node)


def lower(
    source: Graph,
    placement: Placement,
    quantizations: Mapping[str, Quantization],
    round_layer: RoundLayer | None = None,
    progress: Progress | None = None,
) -> Graph:
    """The graph in which the nodes of `placement.int8` run in int8. `quantizations` holds one for each group;
    `round_layer` gives the weights of layers (default: each weight to nearest).
    """
    return lowering(source, placement, quantizations, round_layer, progress).graph


def lowering(
    source: Graph,
    placement: Placement,
    quantizations: Mapping[str, Quantization],
    round_layer: RoundLayer | None = None,
    progress: Progress | None = None,
) -> Lowering:
    """As `lower`: the finished graph, with what it knows about its tensors and nodes."""
    graph = Graph(
        {name: source.tensors[name] for name in source.inputs},
        {},
        [],
        list(source.inputs),
        list(source.outputs),
        source.metadata,
    )
    low = Lowering(source, placement, quantizations, graph, round_layer or partial(rounded_to_nearest, source))
    for name in source.inputs:
        low.float32[name] = name
        low.present(name, "float32")
    for done, node in enumerate(source.nodes, start=1):
        before = len(graph.nodes)
        lower_node(low, node)
        low.origins.update((new.name, node) for new in graph.nodes[before:])
        if progress:
            progress("weights", done, len(source.nodes))
    return low

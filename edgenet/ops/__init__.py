"""Every operation of a graph: `OPERATIONS` by name, and what follows from their declarations for whole graphs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgenet.graph import Graph, Node, Tensor
from edgenet.ops import conv, elementwise, matmul, normalization, pooling, resize, shape
from edgenet.ops.arithmetic import ACTIVATIONS
from edgenet.ops.base import Attribute, Cost, Operation, OperationError

OPERATIONS: dict[str, Operation] = {
    kind.name: kind()
    for kind in (
        conv.Conv2d,
        conv.ConvTranspose2d,
        conv.Linear,
        matmul.MatMul,
        elementwise.Activation,
        elementwise.PReLU,
        elementwise.Add,
        elementwise.Sub,
        elementwise.Mul,
        elementwise.Div,
        elementwise.Mask,
        pooling.MaxPool2d,
        pooling.AvgPool2d,
        pooling.AdaptiveAvgPool2d,
        pooling.Mean,
        normalization.Softmax,
        normalization.LogSoftmax,
        normalization.LayerNorm,
        normalization.LocalResponseNorm,
        elementwise.Concat,
        shape.Slice,
        shape.Pad,
        shape.Reshape,
        shape.Flatten,
        shape.Permute,
        shape.ChannelShuffle,
        shape.PixelShuffle,
        resize.Resize,
        elementwise.Quantize,
        elementwise.Dequantize,
        elementwise.Requantize,
        elementwise.Table,
    )
}


def operation(node: Node) -> Operation:
    """The operation of a node. OperationError when its name is unknown."""
    try:
        return OPERATIONS[node.operation]
    except KeyError:
        raise OperationError(f"unknown operation {node.operation!r}.") from None


def complete_attributes(node: Node) -> dict[str, Any]:
    """The node's attributes with every default filled in."""
    declared = operation(node).attributes
    return {**{name: attribute.default for name, attribute in declared.items()}, **node.attributes}


def with_defaults(node: Node) -> Node:
    """The node with every attribute present: itself, if it has them all."""
    if operation(node).attributes.keys() <= node.attributes.keys():
        return node
    return replace(node, attributes=complete_attributes(node))


def node_types(graph: Graph, node: Node) -> dict[str, Tensor]:
    """The tensors a node reads, by role."""
    return {role: graph.tensors[name] for role, name in node.inputs.items()}


def infer_shapes(graph: Graph, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, Tensor]:
    """All tensors of the graph with the shapes that follow from `input_shapes` (default: the declared ones).

    Raises OperationError, naming the node, when an operation does not fit its inputs.
    """
    tensors = {name: graph.tensors[name] for name in (*graph.constants, *graph.inputs)}
    for name, size in (input_shapes or {}).items():
        tensors[name] = replace(tensors[name], shape=tuple(size))
    for node in graph.nodes:
        try:
            found = operation(node).infer(
                with_defaults(node), {role: tensors[name] for role, name in node.inputs.items()}
            )
        except OperationError as error:
            raise OperationError(f"{node.name}: {error}") from None
        tensors[node.output] = replace(graph.tensors[node.output], shape=tuple(found))
    return tensors


def graph_cost(graph: Graph) -> dict[str, Cost]:
    """Cost of each node for one sample, by the node's output."""
    return {
        node.output: operation(node).cost(with_defaults(node), node_types(graph, node), graph.tensors[node.output])
        for node in graph.nodes
    }


def constant_value(graph: Graph, name: str) -> np.ndarray:
    """A constant as float32: float16 is widened, int8 with a quantization dequantized per channel."""
    array, quantization = graph.constants[name], graph.tensors[name].quantization
    if array.dtype == np.int8 and quantization is not None:
        sizes = [1] * array.ndim
        if quantization.axis is not None:
            sizes[quantization.axis] = -1
        scale = np.asarray(quantization.scale, np.float32).reshape(sizes)
        return (array.astype(np.int32) - quantization.zero_point).astype(np.float32) * scale
    return array.astype(np.float32)


def _fail(attribute: str, value: Any) -> OperationError:
    return OperationError(f"attribute {attribute} has the invalid value {str(value)[:60]}.")


def _check_number(name: str, declared: Attribute, value: Any) -> None:
    integral = declared.kind.startswith("int")
    if isinstance(value, bool) or not isinstance(value, int if integral else (int, float)):
        raise _fail(name, value)
    if not integral and not math.isfinite(value):
        raise _fail(name, value)
    if (declared.minimum is not None and value < declared.minimum) or (
        declared.maximum is not None and value > declared.maximum
    ):
        raise _fail(name, value)


def _check_activation(name: str, value: Any) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str) or value["kind"] not in ACTIVATIONS:
        raise _fail(name, value)
    allowed = ACTIVATIONS[value["kind"]][0]
    if set(value) != {"kind", *allowed}:
        raise _fail(name, value)
    for key in allowed:
        if value[key] is not None or value["kind"] != "clamp":
            _check_number(f"{name}.{key}", Attribute("float"), value[key])
    if value["kind"] == "clamp" and None not in (value["min"], value["max"]) and value["min"] > value["max"]:
        raise _fail(name, value)


def check_attribute(name: str, declared: Attribute, value: Any) -> None:
    """OperationError unless `value` is what the attribute declares."""
    if value is None:
        if declared.nullable and not declared.required:
            return
        raise _fail(name, value)
    if declared.kind == "activation":
        _check_activation(name, value)
    elif declared.kind == "bool":
        if not isinstance(value, bool):
            raise _fail(name, value)
    elif declared.kind == "string":
        if not isinstance(value, str) or (declared.choices and value not in declared.choices):
            raise _fail(name, value)
    elif declared.kind in ("ints", "floats"):
        if not isinstance(value, list | tuple) or len(value) > 1024 or declared.length not in (None, len(value)):
            raise _fail(name, value)
        for entry in value:
            _check_number(name, declared, entry)
    else:
        _check_number(name, declared, value)


def _check_roles(declared: Operation, node: Node) -> None:
    roles = tuple(node.inputs)
    if declared.variadic:
        valid = bool(roles) and roles == tuple(f"x{i}" for i in range(len(roles)))
    else:
        valid = set(declared.required) <= set(roles) <= {*declared.required, *declared.optional}
    if not valid:
        raise OperationError(f"{node.operation} does not take the inputs {', '.join(roles) or 'none'}.")


def validate_node(node: Node, types: Mapping[str, Tensor], output: Tensor, constants: Mapping[str, Any]) -> None:
    """Check one node completely: roles, attributes, dtypes, inferred shape, and the operation's own conditions.

    `constants` holds the names of the graph's constants. Raises OperationError.
    """
    declared = operation(node)
    _check_roles(declared, node)
    unknown = set(node.attributes) - set(declared.attributes)
    if unknown:
        raise OperationError(f"{node.operation} has no attribute {min(unknown)[:60]}.")
    for name, attribute in declared.attributes.items():
        if name in node.attributes:
            check_attribute(name, attribute, node.attributes[name])
        elif attribute.required:
            raise OperationError(f"{node.operation} needs the attribute {name}.")
    for role in declared.constants:
        if role in node.inputs and node.inputs[role] not in constants:
            raise OperationError(f"{role} of {node.operation} must be a constant.")
    full = with_defaults(node)
    if full.attributes.get("q_min", -128) > full.attributes.get("q_max", 127):
        raise OperationError("q_min exceeds q_max.")
    first = types[next(iter(node.inputs))] if declared.variadic else types[declared.required[0]]
    if first.dtype not in declared.dtypes:
        raise OperationError(f"{node.operation} does not compute {first.dtype}.")
    floats = {
        role: _as_float(t) if first.dtype == "float32" and node.inputs[role] in constants else t
        for role, t in types.items()
    }
    if first.dtype == "float32" and any(t.dtype != "float32" for t in floats.values()):
        raise OperationError(f"{node.operation} mixes float32 with another dtype.")
    if first.dtype == "float32" and node.operation != "quantize" and output.dtype != "float32":
        raise OperationError(f"{node.operation} writes float32.")
    shape_found = declared.infer(full, floats)
    if tuple(shape_found) != output.shape:
        raise OperationError(f"{node.operation} gives shape {tuple(shape_found)}, not the declared {output.shape}.")
    declared.check(full, floats, output)


def _as_float(tensor: Tensor) -> Tensor:
    """A constant's type once decompressed for a float32 node."""
    if tensor.dtype == "float16" or (tensor.dtype == "int8" and tensor.quantization is not None):
        return replace(tensor, dtype="float32", quantization=None)
    return tensor

"""The wall in front of the kernels, which have no bounds checks: `validate(graph)` checks everything they rely on.

Each broken rule raises ModelFormatError with a message of its own. The cost is linear in the size of the graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn

import numpy as np

from edgenet.dtypes import BATCH, DTYPES
from edgenet.errors import ModelFormatError
from edgenet.graph import Graph, Node, Quantization, Tensor
from edgenet.ops import infer_shapes, node_types, operation, validate_node, with_defaults
from edgenet.ops.base import OperationError, byte_count, element_count
from edgenet.validate_metadata import check_metadata, golden_shapes
from edgenet.validate_text import check_text, escaped, show

MAX_RANK = 8
MAX_SIZE = 2**31 - 1
MAX_NAME = 512
MAX_SOURCE = 4096
MAX_MULTIPLIER = 2.0**64
"""Bound of every int8 multiplier: products of accumulators and multipliers stay finite in float32."""
MAX_BIAS = 2**30
"""Bound of int32 biases: with the operations' limit on products, accumulators stay inside int32."""
SMALLEST_SCALE, LARGEST_SCALE = 2.0**-126, 2.0**126
LARGEST_FLOAT = float(np.finfo(np.float32).max)


class Limits(NamedTuple):
    """What a model may ask for: `memory`, the bytes of all constants, and of all activations for one sample; `work`,
    the FLOPs for one sample; the number of `tensors` and `nodes`.
    """

    memory: int = 4 * 2**30
    work: int = 10**14
    tensors: int = 100_000
    nodes: int = 50_000


DEFAULT_LIMITS = Limits()


def validate(graph: Graph, limits: Limits = DEFAULT_LIMITS) -> None:
    """Check a graph completely. Raises ModelFormatError, saying which rule is broken and where."""
    if len(graph.tensors) > limits.tensors or len(graph.nodes) > limits.nodes:
        _fail(f"the graph has {len(graph.tensors)} tensors and {len(graph.nodes)} nodes, more than is accepted.")
    for name, tensor in graph.tensors.items():
        _check_tensor(name, tensor, name in graph.constants)
    for name in graph.constants:
        _check_constant(graph, name)
    _check_order(graph)
    for node in graph.nodes:
        _check_node(graph, node)
    _check_roles(graph)
    _check_budget(graph, limits)
    check_metadata(graph)
    _check_golden(graph, limits)


def at_sizes(graph: Graph, shapes: Mapping[str, tuple[int, ...]], limits: Limits = DEFAULT_LIMITS) -> Graph:
    """A valid graph as it is for other shapes of its inputs (by name; their ranks stay), checked anew.

    Raises ModelFormatError where the network cannot take these shapes.
    """
    try:
        resized = replace(graph, tensors={**graph.tensors, **infer_shapes(graph, shapes)})
    except OperationError as error:
        raise ModelFormatError(f"node {escaped(str(error))}") from None
    for name, tensor in resized.tensors.items():
        if name not in graph.constants:
            _check_tensor(name, tensor, False)
    for node in graph.nodes:
        _check_node(resized, node)
    _check_budget(resized, limits)
    return resized


def _check_golden(graph: Graph, limits: Limits) -> None:
    """The network takes the golden inputs, at their own sizes, and gives the shapes of the golden outputs."""
    inputs, outputs = golden_shapes(graph)
    if not inputs:
        return
    try:
        resized = at_sizes(graph, inputs, limits)
    except ModelFormatError as error:
        raise ModelFormatError(f"the golden inputs do not fit: {error}") from None
    for name, shape in outputs.items():
        if resized.tensors[name].shape != shape:
            _fail(f"the golden output of {show(name)} has shape {shape}, not {resized.tensors[name].shape}.")


def _fail(message: str) -> NoReturn:
    raise ModelFormatError(message)


def _is_int(value: Any) -> bool:
    return type(value) is int


def _check_tensor(name: str, tensor: Tensor, constant: bool) -> None:
    check_text(name, "a tensor's name", MAX_NAME)
    if tensor.name != name:
        _fail(f"tensor {show(name)} is registered under another name than its own, {show(tensor.name)}.")
    if tensor.dtype not in DTYPES:
        _fail(f"tensor {show(name)} has the unknown dtype {show(tensor.dtype)}.")
    if not constant and tensor.dtype not in ("float32", "int8"):
        _fail(f"activation {show(name)} is {tensor.dtype}; activations are float32 or int8.")
    shape = tensor.shape
    if not isinstance(shape, tuple) or len(shape) > MAX_RANK or (not constant and not shape):
        _fail(f"tensor {show(name)} has an invalid rank.")
    for axis, size in enumerate(shape):
        symbolic = axis == 0 and not constant and _is_int(size) and size == BATCH
        if not symbolic and not (_is_int(size) and 1 <= size <= MAX_SIZE):
            _fail(f"tensor {show(name)} has the invalid size {show(size)} on axis {axis}.")
    _check_quantization(tensor, constant)


def _check_quantization(tensor: Tensor, constant: bool) -> None:
    name, quantization = tensor.name, tensor.quantization
    if quantization is None:
        if not constant and tensor.dtype == "int8":
            _fail(f"the int8 activation {show(name)} has no scale.")
        return
    if not isinstance(quantization, Quantization) or tensor.dtype not in ("int8", "int32"):
        _fail(f"tensor {show(name)} is {tensor.dtype} and cannot have a scale.")
    axis, zero_point, scale = quantization.axis, quantization.zero_point, quantization.scale
    if not _is_int(zero_point) or not -128 <= zero_point <= 127:
        _fail(f"tensor {show(name)} has the zero point {show(zero_point)}, outside -128..127.")
    if axis is not None and not (_is_int(axis) and 0 <= axis < len(tensor.shape)):
        _fail(f"tensor {show(name)} has scales along the axis {show(axis)}, which it does not have.")
    if axis is not None and not constant:
        _fail(f"activation {show(name)} has a scale for each index of an axis; activations have one scale.")
    if zero_point and (axis is not None or tensor.dtype == "int32"):
        _fail(f"tensor {show(name)} has scales along an axis or is int32 and must have the zero point 0.")
    if not isinstance(scale, tuple) or len(scale) != (1 if axis is None else tensor.shape[axis]):
        _fail(f"tensor {show(name)} has a wrong number of scales.")
    for value in scale:
        if type(value) not in (float, int) or not SMALLEST_SCALE <= value <= LARGEST_SCALE:
            _fail(f"tensor {show(name)} has the scale {show(value)}; scales are normal positive float32 values.")


def _chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    flat = array.reshape(-1)
    return (flat[start : start + 2**20] for start in range(0, flat.size, 2**20))


def _check_constant(graph: Graph, name: str) -> None:
    array, tensor = graph.constants[name], graph.tensors.get(name)
    if tensor is None:
        _fail(f"constant {show(name)} has no tensor.")
    if not isinstance(array, np.ndarray) or array.dtype != DTYPES[tensor.dtype] or array.shape != tensor.shape:
        _fail(f"constant {show(name)} does not hold the declared {tensor.dtype} of shape {tensor.shape}.")
    if not array.flags.c_contiguous:
        _fail(f"constant {show(name)} is not contiguous.")
    if array.dtype.kind == "f" and not all(np.isfinite(part).all() for part in _chunks(array)):
        _fail(f"constant {show(name)} holds NaN or infinite values.")


def _check_order(graph: Graph) -> None:
    """Inputs, nodes in execution order, outputs: every name defined once, before it is read."""
    if not graph.inputs or not graph.outputs:
        _fail("the graph needs at least one input and one output.")
    defined: set[str] = set()
    for name in graph.inputs:
        if name not in graph.tensors or name in graph.constants or name in defined:
            _fail(f"graph input {show(name)} is undeclared, a constant, or listed twice.")
        if graph.tensors[name].dtype != "float32":
            _fail(f"graph input {show(name)} is {graph.tensors[name].dtype}; graph inputs are float32.")
        defined.add(name)
    if len({graph.tensors[name].shape[0] == BATCH for name in graph.inputs}) > 1:
        _fail("some graph inputs have a symbolic batch and others do not.")
    produced: set[str] = set()
    names: set[str] = set()
    for node in graph.nodes:
        check_text(node.name, "a node's name", MAX_NAME)
        check_text(node.source, f"the source of node {show(node.name)}", MAX_SOURCE, empty=True)
        if node.name in names:
            _fail(f"two nodes are named {show(node.name)}.")
        names.add(node.name)
        for role, name in node.inputs.items():
            if name not in graph.tensors:
                _fail(f"node {show(node.name)} reads {show(name)} as {show(role)}, which is not declared.")
            if name not in graph.constants and name not in defined:
                _fail(f"node {show(node.name)} reads {show(name)} before any node writes it; the order has a cycle.")
        output = node.output
        if output not in graph.tensors or output in graph.constants or output in defined:
            _fail(f"node {show(node.name)} writes {show(output)}, which is undeclared, a constant or written already.")
        defined.add(output)
        produced.add(output)
    for name in graph.outputs:
        if name not in produced:
            _fail(f"graph output {show(name)} is not the output of any node.")
        if graph.tensors[name].dtype != "float32":
            _fail(f"graph output {show(name)} is {graph.tensors[name].dtype}; graph outputs are float32.")
    if len(set(graph.outputs)) != len(graph.outputs):
        _fail("a graph output is listed twice.")
    for name in graph.tensors:
        if name not in defined and name not in graph.constants:
            _fail(f"tensor {show(name)} is neither a constant, a graph input nor the output of a node.")


def _check_numbers(node: Node, key: str, value: Any) -> None:
    """Numbers in attributes fit int64 and float32."""
    entries: Any = value
    if isinstance(value, dict):
        entries = value.values()
    elif not isinstance(value, list | tuple):
        entries = (value,)
    for entry in entries:
        if _is_int(entry) and not -(2**63) <= entry < 2**63:
            _fail(f"attribute {show(key)} of node {show(node.name)} is out of range.")
        if isinstance(entry, float) and not (math.isfinite(entry) and abs(entry) <= LARGEST_FLOAT):
            _fail(f"attribute {show(key)} of node {show(node.name)} is not finite in float32.")
        if "multiplier" in key and isinstance(entry, int | float) and entry > MAX_MULTIPLIER:
            _fail(f"attribute {show(key)} of node {show(node.name)} is larger than 2**64.")


def _check_node(graph: Graph, node: Node) -> None:
    for key, value in node.attributes.items():
        if not isinstance(key, str):
            _fail(f"node {show(node.name)} has an attribute whose name is not a string.")
        _check_numbers(node, key, value)
    try:
        declared = operation(node)
        validate_node(node, node_types(graph, node), graph.tensors[node.output], graph.constants)
    except OperationError as error:
        raise ModelFormatError(f"node {show(node.name)}: {escaped(str(error))}") from None
    movable = ("a", "b") if {"a", "b"} <= set(declared.required) else ()
    for role, name in node.inputs.items():
        if name in graph.constants and role not in declared.constants and role not in movable:
            _fail(f"node {show(node.name)} reads a constant as {show(role)}, which must be computed.")
    if all(name in graph.constants for name in node.inputs.values()):
        _fail(f"node {show(node.name)} reads constants only.")


def _check_roles(graph: Graph) -> None:
    """Values of constants that the int8 arithmetic restricts by role."""
    used = {(name, role) for node in graph.nodes for role, name in node.inputs.items() if name in graph.constants}
    for name, role in sorted(used):
        array = graph.constants[name]
        if role == "weight" and array.dtype == np.int8 and array.min() < -127:
            _fail(f"the weights {show(name)} hold -128; int8 weights lie in -127..127.")
        if role == "bias" and array.dtype == np.int32 and (array.min() < -MAX_BIAS or array.max() > MAX_BIAS):
            _fail(f"the bias {show(name)} exceeds 2**30 and can overflow the accumulator.")
        if role == "multiplier" and (array.min() < 0 or array.max() > MAX_MULTIPLIER):
            _fail(f"the multipliers {show(name)} are negative or larger than 2**64.")


def _padded_elements(graph: Graph, node: Node) -> int:
    """Elements of the largest padded array that running the node may need, beyond its inputs and output."""
    types, output = node_types(graph, node), graph.tensors[node.output]
    attributes = with_defaults(node).attributes
    if node.operation == "local_response_norm":
        shape = types["x"].shape
        return element_count(shape[:-1]) * (shape[-1] + attributes["size"])
    if "padding" not in attributes:
        return 0
    batch, height, width, channels = types["x"].shape
    if node.operation == "conv_transpose2d":  # zeros between the pixels, and around them as far as the kernel reaches
        (down, across), (_, kernel_height, kernel_width, _) = attributes["dilation"], types["weight"].shape
        height, width = output.shape[1] + down * (kernel_height - 1), output.shape[2] + across * (kernel_width - 1)
        return max(batch, 1) * height * width * channels
    top, bottom, left, right = attributes["padding"]
    return max(batch, 1) * (height + top + bottom) * (width + left + right) * channels


def _flops(graph: Graph, node: Node) -> int:
    """The FLOPs of a node; a transposed convolution makes the products with the zeros between its pixels, too."""
    types, output = node_types(graph, node), graph.tensors[node.output]
    flops = operation(node).cost(with_defaults(node), types, output).flops
    if node.operation == "conv_transpose2d":
        flops = max(flops, 2 * element_count(output.shape) * element_count(types["weight"].shape[1:]))
    return flops


def _check_budget(graph: Graph, limits: Limits) -> None:
    """Memory of activations and padded arrays, and the work of one run, for one sample."""
    if sum(array.nbytes for array in graph.constants.values()) > limits.memory:
        _fail(f"the constants need more than the {limits.memory} bytes that a model may use.")
    total = work = 0
    for name, tensor in graph.tensors.items():
        if name not in graph.constants:
            total += byte_count(tensor)
            if total > limits.memory:
                _fail(f"the activations need more than the {limits.memory} bytes that a model may use.")
    for node in graph.nodes:
        if 4 * _padded_elements(graph, node) > limits.memory:
            _fail(f"node {show(node.name)} needs more than the {limits.memory} bytes that a model may use.")
        work += _flops(graph, node)
        if work > limits.work:
            _fail(f"one run needs more than the {limits.work} operations that a model may use.")

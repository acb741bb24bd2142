"""The JSON header of an .edgenet file: strict parsing, and the conversion between header and Graph (see FORMAT.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn, cast

import numpy as np

from edgenet import __version__
from edgenet.dtypes import DTYPES, aligned
from edgenet.errors import ModelFormatError
from edgenet.graph import Graph, Metadata, Node, Preprocessing, Quantization, Tensor
from edgenet.ops import OPERATIONS
from edgenet.validate_text import show

CODES: Final = {"float32": "F32", "float16": "F16", "int8": "I8", "int32": "I32"}
DTYPE_OF: Final = {code: dtype for dtype, code in CODES.items()}
MAX_DEPTH: Final = 16
MAX_DIGITS: Final = 20
VERSION_TEXT = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){1,2}[0-9A-Za-z.+-]{0,32}")

Reader = Callable[[str, tuple[int, ...], int], np.ndarray]
"""Array of a dtype and shape at an offset of the buffers."""


def little(dtype: str) -> np.dtype[Any]:
    """The stored form of an element type."""
    return DTYPES[dtype].newbyteorder("<")


def _fail(message: str) -> NoReturn:
    raise ModelFormatError(message)


def _nesting(text: bytes) -> int:
    """Deepest nesting of brackets outside strings; exact up to the first syntax error."""
    plain = np.frombuffer(text.replace(b"\\\\", b"").replace(b'\\"', b""), np.uint8)
    outside = np.cumsum(plain == ord('"'), dtype=np.int32) % 2 == 0
    step = np.isin(plain, (ord("["), ord("{"))).astype(np.int8) - np.isin(plain, (ord("]"), ord("}")))
    return int(np.cumsum(step * outside, dtype=np.int32).max(initial=0))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        _fail("the header repeats a key of an object.")
    return result


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        _fail("the header holds an integer of more than 64 bits.")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if value - value != 0:
        _fail("the header holds a number that is not finite.")
    return value


def _not_finite(text: str) -> NoReturn:
    _fail("the header holds a number that is not finite.")


def parse(text: bytes) -> dict[str, Any]:
    """The header object. ModelFormatError for NaN, repeated keys, deep nesting, huge numbers and what is not JSON."""
    if _nesting(text) > MAX_DEPTH:
        _fail("the header is nested too deeply.")
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_not_finite,
        )
    except UnicodeDecodeError:
        raise ModelFormatError("the header is not UTF-8.") from None
    except ModelFormatError:
        raise
    except ValueError as error:
        raise ModelFormatError(f"the header is not JSON: {str(error)[:100]}.") from None
    if not isinstance(value, dict):
        _fail("the header is not a JSON object.")
    return value


class Fields:
    """Typed access to the members of one JSON object. Unknown members are errors unless the file is `newer`."""

    def __init__(self, value: Any, where: str, known: tuple[str, ...], newer: bool):
        if type(value) is not dict:
            _fail(f"{where} is not an object.")
        self.value: dict[str, Any] = value
        self.where = where
        self.newer = newer
        unknown = value.keys() - set(known)
        if unknown and not newer:
            _fail(f"{where} has the unknown member {show(min(unknown))}.")

    def __contains__(self, key: str) -> bool:
        return key in self.value

    def take(self, key: str, *kinds: type, default: Any = ...) -> Any:
        """Member `key`, exactly of one of the types `kinds` (a bool is no int); `default` where it is absent."""
        if key not in self.value:
            if default is ...:
                _fail(f"{self.where} has no {key}.")
            return default
        found = self.value[key]
        if type(found) not in kinds:
            _fail(f"{key} of {self.where} has the wrong type.")
        return found

    def take_list(self, key: str, *kinds: type) -> list[Any]:
        """Member `key`, a list whose entries are exactly of the types `kinds`."""
        found = self.take(key, list)
        if any(type(entry) not in kinds for entry in found):
            _fail(f"{key} of {self.where} holds an entry of the wrong type.")
        return found

    def take_texts(self, key: str) -> dict[str, str]:
        """Member `key`, an object of strings; empty where it is absent."""
        found = self.take(key, dict, default={})
        if any(type(entry) is not str for entry in found.values()):
            _fail(f"{key} of {self.where} holds something that is not a text.")
        return found


_TOP = ("edgenet", "operations", "tensors", "nodes", "inputs", "outputs", "metadata")
_TENSOR = ("name", "shape", "dtype", "offset", "scale", "zero_point", "axis")
_NODE = ("operation", "name", "inputs", "output", "attributes", "source")
_METADATA = ("preprocessing", "labels", "provenance", "golden_inputs", "golden_outputs")
_PREPROCESSING = ("resize", "crop", "interpolation", "mean", "std", "color")


def decode(header: Mapping[str, Any], read: Reader, newer: bool) -> Graph:
    """The graph that a header describes, its constants as `read` returns them. Not yet validated.

    `newer`: the file has a later minor version, whose additions are ignored. Raises ModelFormatError.
    """
    top = Fields(header, "the header", _TOP, newer)
    _check_versions(top)
    graph = Graph()
    names: list[str] = []
    for index, entry in enumerate(top.take_list("tensors", dict)):
        tensor = _decode_tensor(graph, Fields(entry, f"tensor {index}", _TENSOR, newer), read)
        if tensor.name in graph.tensors:
            _fail(f"two tensors are named {show(tensor.name)}.")
        graph.tensors[tensor.name] = tensor
        names.append(tensor.name)

    def named(index: Any, where: str) -> str:
        if type(index) is not int or not 0 <= index < len(names):
            _fail(f"{where} refers to the tensor {show(index)}, which does not exist.")
        return names[index]

    operations = top.take("operations", dict)
    for number, entry in enumerate(top.take_list("nodes", dict)):
        where = f"node {number}"
        fields = Fields(entry, where, _NODE, newer)
        kind = fields.take("operation", str)
        if kind not in operations:
            _fail(f"{where} is a {show(kind)}, which the header's operations do not list.")
        inputs = {role: named(index, where) for role, index in fields.take("inputs", dict).items()}
        output = named(fields.take("output", int), where)
        attributes = fields.take("attributes", dict, default={})
        node = Node(kind, fields.take("name", str), inputs, output, attributes, fields.take("source", str, default=""))
        graph.nodes.append(node)
    graph.inputs = [named(index, "inputs") for index in top.take_list("inputs", int)]
    graph.outputs = [named(index, "outputs") for index in top.take_list("outputs", int)]
    graph.metadata = _decode_metadata(top.take("metadata", dict, default={}), named, newer)
    return graph


def _check_versions(top: Fields) -> None:
    """Every operation is known in the version that the file uses, or the message says which edgenet is needed."""
    writer = top.take("edgenet", str)
    if not VERSION_TEXT.fullmatch(writer):
        _fail(f"edgenet of the header is {show(writer)}, not a version.")
    for name, version in top.take("operations", dict).items():
        if type(version) is not int or version < 1:
            _fail(f"operation {show(name)} has the version {show(version)}.")
        if name not in OPERATIONS or version > OPERATIONS[name].version:
            _fail(
                f"operation {show(name)} in version {show(version)} is unknown to edgenet {__version__}; "
                f"the file was written by edgenet {writer}: install that version or a later one."
            )


def _decode_tensor(graph: Graph, fields: Fields, read: Reader) -> Tensor:
    name, shape = fields.take("name", str), tuple(fields.take_list("shape", int))
    code = fields.take("dtype", str)
    if code not in DTYPE_OF:
        _fail(f"{fields.where} has the unknown dtype {show(code)}.")
    dtype = DTYPE_OF[code]
    if "offset" in fields:
        graph.constants[name] = read(dtype, shape, fields.take("offset", int))
    if "scale" not in fields:
        if "zero_point" in fields or "axis" in fields:
            _fail(f"{fields.where} has a zero_point or axis without a scale.")
        return Tensor(name, shape, dtype)
    scale, zero_point = fields.take("scale", float, int, dict), fields.take("zero_point", int, default=0)
    if type(scale) is not dict:
        if "axis" in fields:
            _fail(f"{fields.where} has an axis but one scale.")
        return Tensor(name, shape, dtype, Quantization((float(scale),), zero_point))
    axis = fields.take("axis", int)
    if not 0 <= axis < len(shape):
        _fail(f"{fields.where} has scales along the axis {show(axis)}, which it does not have.")
    offset = Fields(scale, f"scale of {fields.where}", ("offset",), fields.newer).take("offset", int)
    scales = cast("list[float]", read("float32", (shape[axis],), offset).tolist())
    return Tensor(name, shape, dtype, Quantization(tuple(scales), zero_point, axis))


def _decode_metadata(value: dict[str, Any], named: Callable[[Any, str], str], newer: bool) -> Metadata:
    fields = Fields(value, "metadata", _METADATA, newer)
    metadata = Metadata(provenance=fields.take_texts("provenance"))
    if "labels" in fields:
        metadata.labels = fields.take_list("labels", str)
    if "preprocessing" in fields:
        member = Fields(fields.take("preprocessing", dict), "preprocessing", _PREPROCESSING, newer)
        metadata.preprocessing = Preprocessing(
            member.take("resize", int, type(None)),
            member.take("crop", int, type(None)),
            member.take("interpolation", str),
            tuple(member.take_list("mean", int, float)),
            tuple(member.take_list("std", int, float)),
            member.take("color", str),
        )
    for key, target in (("golden_inputs", metadata.golden_inputs), ("golden_outputs", metadata.golden_outputs)):
        for pair in fields.take(key, list, default=[]):
            if type(pair) is not list or len(pair) != 2:
                _fail(f"{key} holds something that is not a pair of tensors.")
            name = named(pair[0], key)
            if name in target:
                _fail(f"{key} names {show(name)} twice.")
            target[name] = named(pair[1], key)
    return metadata


def referenced(graph: Graph) -> Graph:
    """The graph with just the tensors it uses, in the file's order: inputs, then inputs and output of each node."""
    nodes = [_ordered(node) for node in graph.nodes]
    order = dict.fromkeys(graph.inputs)
    for node in nodes:
        order.update(dict.fromkeys(node.inputs.values()))
        order[node.output] = None
    order.update(dict.fromkeys(graph.outputs))
    for golden in (graph.metadata.golden_inputs, graph.metadata.golden_outputs):
        order.update(dict.fromkeys(golden[name] for name in (*graph.inputs, *graph.outputs) if name in golden))
    tensors = {name: graph.tensors[name] for name in order if name in graph.tensors}
    constants = {name: graph.constants[name] for name in tensors if name in graph.constants}
    return replace(graph, tensors=tensors, constants=constants, nodes=nodes)


def _ordered(node: Node) -> Node:
    """The node with its roles in the order of the operation's declaration."""
    known = OPERATIONS.get(node.operation)
    order = (*known.required, *known.optional) if known else ()
    ranked = sorted(node.inputs.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order))
    return replace(node, inputs=dict(ranked))


def encode(graph: Graph) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Header and buffers of a valid graph that holds just the tensors it uses."""
    buffers: list[np.ndarray] = []
    position = 0

    def place(array: np.ndarray, dtype: str) -> int:
        nonlocal position
        offset = position
        buffers.append(np.ascontiguousarray(array, little(dtype)))
        position += aligned(buffers[-1].nbytes)
        return offset

    tensors = []
    for name, tensor in graph.tensors.items():
        entry: dict[str, Any] = {"name": name, "shape": list(tensor.shape), "dtype": CODES[tensor.dtype]}
        if name in graph.constants:
            entry["offset"] = place(graph.constants[name], tensor.dtype)
        quantization = tensor.quantization
        if quantization is not None and quantization.axis is not None:
            entry["scale"] = {"offset": place(np.asarray(quantization.scale, np.float32), "float32")}
            entry["axis"] = quantization.axis
        elif quantization is not None:
            entry["scale"] = float(quantization.scale[0])
            if quantization.zero_point:
                entry["zero_point"] = quantization.zero_point
        tensors.append(entry)
    index = {name: i for i, name in enumerate(graph.tensors)}
    header = {
        "edgenet": __version__,
        "operations": {name: OPERATIONS[name].version for name in sorted({node.operation for node in graph.nodes})},
        "tensors": tensors,
        "nodes": [_encode_node(node, index) for node in graph.nodes],
        "inputs": [index[name] for name in graph.inputs],
        "outputs": [index[name] for name in graph.outputs],
        "metadata": _encode_metadata(graph.metadata, index),
    }
    return header, buffers


def _encode_node(node: Node, index: Mapping[str, int]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "operation": node.operation,
        "name": node.name,
        "inputs": {role: index[name] for role, name in node.inputs.items()},
        "output": index[node.output],
    }
    attributes = {}
    for key, value in sorted(node.attributes.items()):
        declared = OPERATIONS[node.operation].attributes[key]
        stored = _attribute(declared.kind, value)
        if declared.required or json.dumps(stored) != json.dumps(_attribute(declared.kind, declared.default)):
            attributes[key] = stored
    if attributes:
        entry["attributes"] = attributes
    if node.source:
        entry["source"] = node.source
    return entry


def _attribute(kind: str, value: Any) -> Any:
    """The one form in which an attribute's value is written: lists, sorted keys, floats where floats are declared."""
    if isinstance(value, dict):
        return {key: _attribute("float", entry) for key, entry in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [_attribute(kind.removesuffix("s"), entry) for entry in value]
    return float(value) if kind == "float" and isinstance(value, int) else value


def _encode_metadata(metadata: Metadata, index: Mapping[str, int]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if metadata.preprocessing is not None:
        fields = vars(metadata.preprocessing)
        result["preprocessing"] = {key: list(v) if isinstance(v, tuple) else v for key, v in fields.items()}
    if metadata.labels is not None:
        result["labels"] = metadata.labels
    if metadata.provenance:
        result["provenance"] = dict(sorted(metadata.provenance.items()))
    for key, golden in (("golden_inputs", metadata.golden_inputs), ("golden_outputs", metadata.golden_outputs)):
        if golden:
            result[key] = sorted([index[name], index[constant]] for name, constant in golden.items())
    return result

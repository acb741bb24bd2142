"""Hypothesis strategies that turn a valid file into a hostile one. The checksum is right in all but one of them."""

from __future__ import annotations

import contextlib
import copy
import math
from typing import Any

from hypothesis import strategies as st

from edgenet.graph import Node, Tensor
from edgenet.header import DTYPE_OF
from edgenet.ops import OPERATIONS, with_defaults
from edgenet.ops.base import Attribute
from tests.attacks.container import ITEM_SIZES, join, padded, seal, split

NUMBERS = [0, 1, -1, 2, 3, 5, 8, 16, 64, -128, -129, 127, 128, 255, 1000, 65535, 65536, 2**20, 2**31 - 1, 2**31]
NUMBERS += [-(2**31), 2**32, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 10**19, 0.0, -0.0, 0.5, -1.5]
NUMBERS += [1e-45, 1e-30, 1e30, 1e308, 5e-324]
TEXTS = ["", "x", "a", "b", "x0", "x1", "weight", "bias", "multiplier", "input", "a\x1b[2J", "\u202e", "\ud800"]
TEXTS += ["n" * 600, *OPERATIONS, *ITEM_SIZES, "F64", "clamp", "hardswish", "exp", "elu", "nearest", "bilinear", "RGB"]
TEXTS += ["L", "9.9.9"]
OTHERS: list[Any] = [None, True, False, [], {}, [0], [1, 1], [0, 0, 0, 0], [-1], [[]], [1] * 2000, {"offset": 0}]
OTHERS += [{"kind": "clamp", "min": 1, "max": 0}, {"kind": "clamp", "min": None, "max": None}]
OTHERS += [{"kind": "elu", "alpha": 1e38}, {"kind": []}]
VALUES = (
    st.sampled_from(NUMBERS + TEXTS + OTHERS).map(copy.deepcopy) | st.integers(-300, 300) | st.floats(allow_nan=False)
)
KEYS = [*{key for operation in OPERATIONS.values() for key in operation.attributes}, "x", "weight", "bias", "residual"]
KEYS += ["zero_point", "axis", "scale", "offset", "shape", "labels", "preprocessing", "source", "extra"]


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything inside a JSON value."""
    found, pending = [], [value]
    while pending:
        container = pending.pop()
        keys = list(container) if isinstance(container, dict) else range(len(container))
        for key in keys:
            found.append((container, key))
            if isinstance(container[key], dict | list):
                pending.append(container[key])
    return found


def mutate(draw: st.DrawFn, header: dict[str, Any]) -> None:
    """One change of a random place of the header."""
    everywhere = places(header)
    container, key = draw(st.sampled_from(everywhere))
    action = draw(st.sampled_from(["replace", "replace", "nudge", "nudge", "graft", "delete", "repeat", "swap", "add"]))
    if action == "nudge" and type(container[key]) in (int, float):
        value = container[key]
        container[key] = draw(st.sampled_from([value + 1, value - 1, -value, value * 2, value // 2]))
    elif action == "delete":
        del container[key]
    elif action == "graft":
        other, place = draw(st.sampled_from(everywhere))
        container[key] = copy.deepcopy(other[place])
    elif action == "repeat" and isinstance(container, list):
        container.insert(draw(st.integers(0, len(container))), copy.deepcopy(container[key]))
    elif action == "swap" and isinstance(container, list):
        other = draw(st.integers(0, len(container) - 1))
        container[key], container[other] = container[other], container[key]
    elif action == "add" and isinstance(container, dict):
        container[draw(st.sampled_from(KEYS))] = draw(VALUES)
    else:
        container[key] = draw(VALUES)


def repair_shapes(header: dict[str, Any]) -> None:
    """Declare the shapes that follow from the (changed) nodes, as far as they follow."""
    tensors = header["tensors"]
    types = [Tensor(t["name"], tuple(t["shape"]), DTYPE_OF[t["dtype"]]) for t in tensors]
    for entry in header["nodes"]:
        node = Node(entry["operation"], entry["name"], {}, "", entry.get("attributes", {}))
        inputs = {role: types[index] for role, index in entry["inputs"].items()}
        shape = OPERATIONS[node.operation].infer(with_defaults(node), inputs)
        index = entry["output"]
        tensors[index]["shape"] = list(shape)
        types[index] = Tensor(types[index].name, tuple(shape), types[index].dtype)


def repair_buffers(header: dict[str, Any], buffers: bytes) -> bytes:
    """Give every constant a buffer of the (changed) size at the right offset, filled from the old bytes."""
    result = b""

    def place(owner: dict[str, Any], size: int) -> None:
        nonlocal result
        if not 0 < size < 2**16:
            raise ValueError("no buffer for this")
        start = owner["offset"] if type(owner["offset"]) is int and 0 <= owner["offset"] < len(buffers) else 0
        owner["offset"] = len(result)
        result += padded(buffers[start : start + size].ljust(size, b"\1"))

    for tensor in header["tensors"]:
        if "offset" in tensor:
            place(tensor, math.prod(tensor["shape"]) * ITEM_SIZES[tensor["dtype"]])
        if isinstance(tensor.get("scale"), dict):
            place(tensor["scale"], 4 * tensor["shape"][tensor["axis"]])
    return result


def repaired(header: dict[str, Any], buffers: bytes, shapes: bool, sizes: bool) -> bytes:
    """The buffers after the asked repairs. A header that is beyond repair goes out as it is."""
    with contextlib.suppress(Exception):
        if shapes:
            repair_shapes(header)
        if sizes:
            return repair_buffers(header, buffers)
    return buffers


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes, sealed: bool) -> bytes:
    """Bytes overwritten, cut off, inserted or removed; `sealed`: with the checksum made right afterwards."""
    result = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(result) - 1))
        action = draw(st.sampled_from(["overwrite", "flip", "flip", "cut", "insert", "remove"]))
        if action == "overwrite":
            result[place : place + 4] = draw(st.binary(min_size=4, max_size=4))
        elif action == "flip":
            result[place] ^= 1 << draw(st.integers(0, 7))
        elif action == "cut":
            del result[max(place, 32) :]
        elif action == "insert":
            result[place:place] = draw(st.binary(min_size=1, max_size=70))
        else:
            del result[place : place + draw(st.integers(1, 70))]
        result = result if len(result) > 32 else bytearray(content[:33])
    return seal(bytes(result)) if sealed else bytes(result)


@st.composite
def mutated_headers(draw: st.DrawFn, content: bytes) -> bytes:
    """One to three changes in the header's JSON; in part of the cases shapes or buffers are then made to fit."""
    header, buffers = split(content)
    for _ in range(draw(st.integers(1, 3))):
        mutate(draw, header)
    return join(header, repaired(header, buffers, draw(st.booleans()), draw(st.booleans())))


@st.composite
def mutated_nodes(draw: st.DrawFn, content: bytes) -> bytes:
    """Changes of attributes, sizes and scales only, with shapes and buffers made to fit: the deepest attacks."""
    header, buffers = split(content)
    for _ in range(draw(st.integers(1, 3))):
        part = draw(st.sampled_from(["nodes", "nodes", "tensors"]))
        entry = draw(st.sampled_from(header[part]))
        if part == "tensors" and "shape" in entry:
            place = draw(st.integers(0, len(entry["shape"])))
            if place < len(entry["shape"]):
                entry["shape"][place] = draw(st.integers(1, 12) | st.sampled_from([64, 255, 4096, 65535]))
            elif "scale" in entry and not isinstance(entry["scale"], dict):
                entry["scale"] = draw(st.sampled_from([1e-30, 1e30, 1.0, 1e-4]))
                entry["zero_point"] = draw(st.integers(-128, 127))
        elif part == "nodes":
            declared = OPERATIONS[entry["operation"]].attributes
            if declared:
                name = draw(st.sampled_from(sorted(declared)))
                entry.setdefault("attributes", {})[name] = draw(attribute_values(declared[name]))
    return join(header, repaired(header, buffers, True, True))


def attribute_values(declared: Attribute) -> st.SearchStrategy[Any]:
    """Values that mostly are what the attribute declares, at and beyond its bounds."""
    bounds = [b for b in (declared.minimum, declared.maximum) if b is not None]
    integers = st.integers(0, 8) | st.sampled_from([int(b) for b in bounds] + [255, 4096, 65535])
    floats = st.sampled_from([0.0, 0.5, 1.0, 2.0, 1e-4, 1e4, 3e38, 1.8e19, 3e19])
    length = declared.length or 4
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "int": integers,
        "ints": st.lists(integers, min_size=length, max_size=length),
        "float": floats,
        "floats": st.lists(floats, min_size=2, max_size=2),
        "bool": st.booleans(),
        "string": st.sampled_from(list(declared.choices or ["x"])),
        "activation": st.sampled_from(
            [
                {"kind": "clamp", "min": 0.0, "max": None},
                {"kind": "clamp", "min": 3.0, "max": 3.0},
                {"kind": "leaky_relu", "alpha": -3e38},
                {"kind": "reciprocal"},
                {"kind": "hardswish"},
                {"kind": "exp"},
            ]
        ).map(copy.deepcopy),
    }
    return kinds[declared.kind] | st.none() | VALUES

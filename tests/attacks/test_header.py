"""Hostile headers with a right checksum, made by hand: each has its own message."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from edgenet import format
from tests.attacks.container import join, split
from tests.attacks.survivors import TIGHT, bounded, judge
from tests.format.graphs import GRAPHS

LONG = "n" * 513


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """Header and buffers of each graph."""
    folder, result = tmp_path_factory.mktemp("valid"), {}
    for name, build in GRAPHS.items():
        format.save(build(), folder / name)
        result[name] = split((folder / name).read_bytes())
    return result


def find(header: dict[str, Any], part: str, name: str) -> dict[str, Any]:
    return next(entry for entry in header[part] if entry["name"] == name)


def position(header: dict[str, Any], name: str) -> int:
    return next(i for i, entry in enumerate(header["tensors"]) if entry["name"] == name)


def tensor(name: str, /, **changes: Any):
    """Change members of a tensor."""
    return lambda header: find(header, "tensors", name).update(changes)


def node(name: str, /, **changes: Any):
    """Change members of a node."""
    return lambda header: find(header, "nodes", name).update(changes)


def attributes(name: str, /, **changes: Any):
    """Change attributes of a node."""
    return lambda header: find(header, "nodes", name).setdefault("attributes", {}).update(changes)


def wire(name: str, /, **roles: str):
    """Connect roles of a node to tensors by name."""

    def change(header: dict[str, Any]) -> None:
        find(header, "nodes", name)["inputs"].update({role: position(header, t) for role, t in roles.items()})

    return change


def top(**changes: Any):
    """Change members of the header."""
    return lambda header: header.update(changes)


def metadata(**changes: Any):
    """Change members of the metadata."""
    return lambda header: header["metadata"].update(changes)


def preprocessing(**changes: Any):
    """Change members of the preprocessing."""
    return lambda header: header["metadata"]["preprocessing"].update(changes)


def output_of(name: str, target: str):
    """Let a node write another tensor."""
    return lambda header: find(header, "nodes", name).update(output=position(header, target))


def reverse(part: str):
    return lambda header: header[part].reverse()


def both(*changes: Any):
    """Several changes."""
    return lambda header: [change(header) for change in changes]


def drop(part: str, key: str):
    return lambda header: header[part].pop(key)


ATTACKS = [
    # types and members
    ("float", top(extra=1), "unknown member 'extra'"),
    ("float", tensor("conv", alias="x"), "unknown member 'alias'"),
    ("float", node("conv", code="import os"), "unknown member 'code'"),
    ("float", lambda h: h.pop("nodes"), "the header has no nodes"),
    ("float", top(tensors={}), "tensors of the header has the wrong type"),
    ("float", top(nodes=[1]), "holds an entry of the wrong type"),
    ("float", top(inputs=[True]), "inputs of the header holds an entry of the wrong type"),
    ("float", top(inputs=[0.0]), "inputs of the header holds an entry of the wrong type"),
    ("float", node("conv", output=True), "output of node 1 has the wrong type"),
    ("float", tensor("conv", shape=[-1, 6.0, 7, 4]), "shape of tensor 4 holds an entry of the wrong type"),
    ("float", tensor("conv", name=7), "name of tensor 4 has the wrong type"),
    ("float", tensor("conv", dtype="F64"), "unknown dtype 'F64'"),
    ("float", tensor("conv", dtype="F16"), "activations are float32 or int8"),
    # versions
    (
        "float",
        top(edgenet="99.1", operations={"conv2d": 2}),
        "'conv2d' in version 2 .* written by edgenet 99.1: install",
    ),
    ("float", top(operations={"conv4d": 1}), "'conv4d' in version 1 is unknown to edgenet"),
    ("float", top(operations={"conv2d": True}), "'conv2d' has the version True"),
    ("float", top(operations={"conv2d": 0}), "'conv2d' has the version 0"),
    ("float", top(edgenet="\x1b[31m"), "not a version"),
    ("float", node("conv", operation="system"), "'system', which the header's operations do not list"),
    ("float", drop("operations", "softmax"), "'softmax', which the header's operations do not list"),
    # names
    ("float", tensor("conv", name="depthwise"), "two tensors are named 'depthwise'"),
    ("float", node("conv", name="depthwise"), "two nodes are named 'depthwise'"),
    ("float", tensor("conv", name=""), "a tensor's name must be"),
    ("float", tensor("conv", name=LONG), "a tensor's name must be"),
    ("float", tensor("conv", name="\x1b[2J"), "control character"),
    ("float", tensor("conv", name="\ud800"), "control character"),
    ("float", node("conv", name="a\nb"), "control character"),
    ("float", node("conv", source="\u202e"), "control character"),
    ("float", node("conv", source="a\u200e"), "control character"),
    ("float", node("conv", source="a\u200f"), "control character"),
    ("float", node("conv", source="a\u061c"), "control character"),
    ("float", node("conv", source="x" * 5000), "the source of node"),
    # wiring
    ("float", wire("conv", x="probabilities"), "before any node writes it; the order has a cycle"),
    ("float", wire("conv", x="conv"), "the order has a cycle"),
    ("float", reverse("nodes"), "the order has a cycle"),
    ("float", node("conv", inputs={"x": 99}), "refers to the tensor 99, which does not exist"),
    ("float", node("conv", inputs={"x": -1}), "refers to the tensor -1, which does not exist"),
    ("float", node("conv", inputs={"x": True}), "refers to the tensor True, which does not exist"),
    ("float", node("conv", inputs={}), "conv2d does not take the inputs none"),
    ("float", wire("conv", extra="conv.bias"), "does not take the inputs x, weight, bias, extra"),
    ("float", wire("conv", weight="nhwc"), "weight of conv2d must be a constant"),
    (
        "many_float",
        both(wire("node.activation", x="conv_transpose2d.weight"), tensor("activation", shape=[3, 2, 2, 4])),
        "reads a constant as 'x', which must be computed",
    ),
    ("float", wire("conv", residual="golden.input"), r"residual has shape \(2, 3, 5, 3\)"),
    (
        "two_inputs",
        both(wire("sum", a="half", b="half"), tensor("sum", shape=[]), tensor("scaled", shape=[])),
        "invalid rank",
    ),
    ("float", wire("sum", a="conv.bias", b="conv.bias"), "add gives shape"),
    ("float", both(wire("sum", a="conv.bias", b="conv.bias"), tensor("sum", shape=[4])), "reads constants only"),
    ("float", output_of("depthwise", "conv"), "written already"),
    ("float", output_of("conv", "input"), "written already"),
    ("float", output_of("conv", "conv.bias"), "a constant"),
    ("float", top(inputs=[]), "at least one input"),
    ("float", top(outputs=[]), "at least one input and one output"),
    ("float", top(inputs=[0, 0]), "listed twice"),
    ("float", top(inputs=[2]), "a constant"),
    ("float", top(outputs=[0]), "'input' is not the output of any node"),
    ("float", top(outputs=[2]), "is not the output of any node"),
    ("two_inputs", lambda h: h["outputs"].append(h["outputs"][0]), "output is listed twice"),
    ("float", lambda h: h["tensors"].append({"name": "o", "shape": [1], "dtype": "F32"}), "'o' is neither"),
    # shapes
    ("float", tensor("conv", shape=[-1, 6, 7, 5]), "not the declared"),
    ("float", tensor("conv", shape=[-1, -1, 7, 4]), "invalid size -1 on axis 1"),
    ("float", tensor("conv", shape=[-2, 6, 7, 4]), "invalid size -2 on axis 0"),
    ("float", tensor("conv", shape=[0, 6, 7, 4]), "invalid size 0 on axis 0"),
    ("float", tensor("conv", shape=[2**31, 6, 7, 4]), "invalid size 2147483648"),
    ("float", tensor("input", shape=[]), "invalid rank"),
    ("float", tensor("input", shape=[-1] + [1] * 8), "invalid rank"),
    ("float", tensor("input", shape=[2, 3, 6, 7]), "gives shape|golden"),
    ("two_inputs", tensor("a", shape=[-1, 4]), "symbolic batch"),
    ("two_inputs", tensor("a", shape=[3, 4]), "cannot broadcast"),
    # attributes
    ("float", attributes("conv", exec="x"), "has no attribute exec"),
    ("float", attributes("conv", stride=[0, 1]), "attribute stride has the invalid value"),
    ("float", attributes("conv", stride=[-1, 1]), "attribute stride has the invalid value"),
    ("float", attributes("conv", stride=[True, 1]), "attribute stride has the invalid value"),
    ("float", attributes("conv", stride=[1.0, 1]), "attribute stride has the invalid value"),
    ("float", attributes("conv", stride=[1, 1, 1]), "attribute stride has the invalid value"),
    ("float", attributes("conv", stride=[2**62, 1]), "attribute stride has the invalid value"),
    ("float", attributes("conv", stride=None), "attribute stride has the invalid value"),
    ("float", attributes("conv", groups=0), "attribute groups has the invalid value"),
    ("float", attributes("conv", groups=2), "does not fit 3 channels in 2 groups"),
    ("float", attributes("conv", dilation=[9, 9]), "larger than its padded input"),
    ("float", attributes("conv", activation={"kind": "eval"}), "attribute activation has the invalid value"),
    ("float", attributes("conv", activation={"kind": "clamp", "min": 7, "max": 6}), "attribute activation"),
    ("float", attributes("conv", activation={"kind": "elu", "alpha": 1e300}), "not finite in float32"),
    ("float", attributes("nhwc", order=[0, 1, 2, 2]), "permute order"),
    ("float", attributes("nhwc", order=[1, 0, 2, 3]), "moves the batch"),
    ("float", attributes("softmax", axis=7), "axis does not fit"),
    ("float", attributes("softmax", axis=None), "attribute axis has the invalid value"),
    ("float", lambda h: find(h, "nodes", "softmax").pop("attributes"), "needs the attribute axis"),
    ("many_float", attributes("node.slice", start=2**31), "is empty"),
    ("many_float", attributes("node.reshape", shape=[0, 7, -1]), "does not fit"),
    ("many_float", attributes("node.reshape", shape=[0, -1, -1]), "at most one -1"),
    ("many_float", attributes("node.max_pool2d", padding=[2, 0, 0, 0]), "exceeds half of the kernel"),
    ("many_float", attributes("node.resize", scale=[1e-4, 1.0]), "leaves no output"),
    # quantization
    ("int8", tensor("q", scale=0.0), "has the scale 0.0"),
    ("int8", tensor("q", scale=-0.5), "has the scale -0.5"),
    ("int8", tensor("q", scale=1e-45), "has the scale 1e-45"),
    ("int8", tensor("q", scale=1e300), r"has the scale 1e\+300"),
    ("int8", tensor("q", scale=True), "scale of tensor 2 has the wrong type"),
    ("int8", tensor("q", zero_point=128), "zero point 128, outside"),
    ("int8", tensor("q", zero_point=-129), "zero point -129, outside"),
    ("int8", tensor("q", zero_point=False), "zero_point of tensor 2 has the wrong type"),
    ("int8", tensor("q", axis=0), "has an axis but one scale"),
    ("int8", lambda h: find(h, "tensors", "q").pop("scale"), "without a scale"),
    ("int8", lambda h: find(h, "tensors", "pooled").update(scale=0.07), "keeps dtype and quantization"),
    ("int8", tensor("nhwc", scale=1.0), "float32 and cannot have a scale"),
    ("int8", tensor("conv.weight", axis=4), "scales along the axis 4, which it does not have"),
    ("int8", tensor("conv.weight", axis=-1), "scales along the axis -1"),
    ("int8", tensor("conv.weight", zero_point=3), "must have the zero point 0"),
    ("int8", tensor("logits", dtype="I8", scale=1.0), "graph outputs are float32"),
    ("int8", tensor("input", dtype="I8", scale=1.0), "graph inputs are float32"),
    ("int8", wire("fc", bias="fc.multiplier"), "bias must be int32, not float32"),
    ("int8", lambda h: find(h, "nodes", "fc")["inputs"].pop("multiplier"), "an int8 layer needs bias and multiplier"),
    ("int8", attributes("conv", residual_multiplier=None), "residual needs residual_multiplier"),
    ("int8", attributes("conv", residual_multiplier=1e30), "larger than 2"),
    ("int8", attributes("conv", residual_multiplier=-1.0), "residual_multiplier has the invalid value"),
    ("int8", attributes("conv", q_min=5, q_max=-5), "q_min exceeds q_max"),
    ("int8", attributes("conv", q_min=-129), "attribute q_min has the invalid value"),
    ("int8", attributes("concat", multipliers=[1.0]), "one multiplier for each input"),
    # sizes
    ("many_float", attributes("node.pad", pads=[0, 0, 60000, 60000, 60000, 60000, 0, 0]), "gives shape"),
    ("many_float", attributes("node.local_response_norm", size=65535), "more than the 1048576 bytes"),
    # metadata
    ("float", metadata(labels=["a"]), "there are 1 labels for the output 'probabilities'"),
    ("float", metadata(labels=[]), "labels must be a list"),
    ("float", metadata(labels=["a", "b", "c", "d", 5]), "labels of metadata holds an entry of the wrong type"),
    ("float", metadata(labels=["a", "b", "c", "d", "\x07"]), "control character"),
    ("float", metadata(labels=["a", "b", "c", "d", ""]), "a label must be a text"),
    ("float", metadata(provenance={"a": 1}), "provenance of metadata holds something that is not a text"),
    ("float", metadata(provenance={"a": "\r"}), "control character"),
    ("float", metadata(provenance={str(i): "" for i in range(257)}), "at most 256 entries"),
    ("float", metadata(author="me"), "metadata has the unknown member 'author'"),
    ("float", preprocessing(resize=0), "preprocessing resize is 0"),
    ("float", preprocessing(resize=True), "resize of preprocessing has the wrong type"),
    ("float", preprocessing(crop=10**9), "preprocessing crop is 1000000000"),
    ("float", preprocessing(interpolation="eval"), "interpolation 'eval' is none of"),
    ("float", preprocessing(color="CMYK"), "color 'CMYK' is none of"),
    ("float", preprocessing(color="L"), "one number for each channel of L"),
    ("float", preprocessing(color="L", mean=[0.5], std=[1.0]), "the input 'input' has shape"),
    ("float", preprocessing(mean=[0.5, 0.5]), "one number for each channel of RGB"),
    ("float", preprocessing(mean=[0.5, 0.5, True]), "mean of preprocessing holds an entry of the wrong type"),
    ("float", preprocessing(mean=[0.5, 0.5, 1e300]), "not a finite number"),
    ("float", preprocessing(std=[1.0, 1.0, 0.0]), "std must be positive"),
    ("float", preprocessing(std=[1.0, 1.0, -1.0]), "std must be positive"),
    ("float", metadata(golden_inputs=[]), "do not name every graph input once"),
    ("float", metadata(golden_outputs=[]), "do not name every graph output once"),
    ("float", metadata(golden_inputs=[[0, 0]]), "is not a constant"),
    ("float", metadata(golden_inputs=[[0, 2]]), "golden output of 'probabilities' has shape"),
    ("float", metadata(golden_inputs=[[0, 999]]), "refers to the tensor 999"),
    ("float", metadata(golden_inputs=[[0]]), "not a pair of tensors"),
    ("float", lambda h: h["metadata"]["golden_inputs"].append(h["metadata"]["golden_inputs"][0]), "twice"),
    ("float", tensor("golden.input", shape=[2, 3, 15, 1]), None),
    ("float", tensor("golden.input", shape=[1, 3, 15, 2]), "golden output of 'probabilities' has shape"),
    ("float", tensor("golden.input", shape=[2, 5, 3, 3]), "the golden inputs do not fit"),
    ("float", tensor("golden.input", shape=[2, 45]), "wrong rank"),
]
"""Graph, change of its header, message (None: the file stays valid)."""


@pytest.mark.parametrize(
    ("graph", "change", "message"), ATTACKS, ids=[f"{i}-{a[2]}"[:60] for i, a in enumerate(ATTACKS)]
)
def test_hostile_headers_are_refused(graph, change, message, valid, tmp_path):
    header, buffers = copy.deepcopy(valid[graph])
    change(header)
    refusal = judge(join(header, buffers), tmp_path / "m.edgenet")
    if message is None:
        assert refusal is None
    else:
        assert refusal is not None, "the file was accepted"
        assert re.search(message, refusal), refusal


TEXTS = {
    "not JSON": [b"", b"{", b"{]", b"nonsense", b'{"a": 01}', b'{"a": .5}', b"{'a': 1}", b'{"a": 1,}', b'{"a": "\n"}'],
    "not a JSON object": [b"[]", b"1", b"null", b'"text"'],
    "repeats a key": [b'{"a": 1, "a": 1}', b'{"b": [{"a": 1, "\\u0061": 2}]}'],
    "not finite": [b'{"a": NaN}', b'{"a": Infinity}', b'{"a": -Infinity}', b'{"a": 1e999}', b'{"a": -1e400}'],
    "more than 64 bits": [b'{"a": ' + b"9" * 21 + b"}", b'{"a": ' + b"9" * 1_000_000 + b"}"],
    "nested too deeply": [b'{"a": ' + b"[" * 17, b'{"a":' * 100_000, b"[" * 1_000_000, b'{"\\"[": ' + b"[" * 20],
    "not UTF-8": [b'{"a": "\xff"}', b'{"a": "\xed\xa0\x80"}', b"\xff\xfe{\x00}\x00"],
}


@pytest.mark.parametrize(("message", "texts"), TEXTS.items())
def test_texts_that_are_not_strict_json(message, texts, tmp_path):
    for text in texts:
        assert message in str(judge(join(text, b""), tmp_path / "m"))


def test_brackets_inside_texts_do_not_count_as_nesting(valid, tmp_path):
    header, buffers = copy.deepcopy(valid["float"])
    header["metadata"]["labels"] = ["[" * 50, '"' + "{" * 50, "\\" + "[" * 50, '\\"' + "[" * 50, '\\\\"[[[']
    assert judge(join(header, buffers), tmp_path / "m") is None


def test_a_header_above_the_limit(tmp_path):
    text = b'{"a": [' + b"0," * (4 * 2**20) + b"0]}"
    assert "the header cannot have" in str(judge(join(text, b""), tmp_path / "m"))


@pytest.mark.parametrize("piece", [b"[],", b"0,", b'{"":""},'])
def test_a_full_header_of_small_pieces_takes_bounded_time_and_memory(piece, tmp_path):
    text = b'{"tensors": [' + piece * ((8 * 2**20 - 100) // len(piece)) + b"0]}"
    assert judge(join(text, b""), tmp_path / "m") is not None


def test_many_nodes_take_linear_time(tmp_path):
    count = 10_000
    tensors = [{"name": f"t{i}", "shape": [-1, 1], "dtype": "F32"} for i in range(count + 1)]
    nodes = [{"operation": "flatten", "name": f"n{i}", "inputs": {"x": i}, "output": i + 1} for i in range(count)]
    header = {"edgenet": "0.1.0", "operations": {"flatten": 1}, "tensors": tensors, "nodes": nodes, "inputs": [0]}
    accepted(join({**header, "outputs": [count]}, b""), tmp_path / "m")
    wide = {"operation": "concat", "name": "c", "inputs": {f"x{i}": 0 for i in range(count)}, "output": 1}
    wide["attributes"] = {"axis": 1}
    tensors = [tensors[0], {"name": "c", "shape": [-1, count], "dtype": "F32"}]
    header = {"edgenet": "0.1.0", "operations": {"concat": 1}, "tensors": tensors, "nodes": [wide], "inputs": [0]}
    accepted(join({**header, "outputs": [1]}, b""), tmp_path / "m")


def accepted(content: bytes, path: Path) -> None:
    """Load within the bounds, without running."""
    path.write_bytes(content)
    with bounded():
        format.load(path, TIGHT)


def test_members_of_a_later_minor_version_are_ignored_and_its_operations_are_not(valid, tmp_path):
    header, buffers = copy.deepcopy(valid["float"])
    header["sparsity"] = {"kind": "2:4"}
    header["tensors"][0]["layout"] = "NCHW"
    header["nodes"][0]["hint"] = [1]
    find(header, "tensors", "fc.weight")["scale"]["kind"] = "float32"
    header["metadata"]["licence"] = "MIT"
    assert "unknown member" in str(judge(join(header, buffers), tmp_path / "m"))
    assert judge(join(header, buffers, minor=7, reserved=5), tmp_path / "m") is None
    header["operations"]["attention"] = 3
    message = str(judge(join(header, buffers, minor=7), tmp_path / "m"))
    assert "'attention' in version 3 is unknown to edgenet" in message
    find(header, "nodes", "conv")["attributes"]["sparsity"] = 1
    del header["operations"]["attention"]
    assert "has no attribute sparsity" in str(judge(join(header, buffers, minor=7), tmp_path / "m"))

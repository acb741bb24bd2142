"""Files are what FORMAT.md and schema.json say."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import numpy as np
import pytest

from edgenet import format
from edgenet.graph import INTERPOLATIONS
from edgenet.header import CODES
from edgenet.ops import OPERATIONS, with_defaults
from edgenet.validate import DEFAULT_LIMITS, MAX_NAME, MAX_SOURCE
from edgenet.validate_metadata import (
    CHANNELS,
    MAX_LABEL,
    MAX_LABELS,
    MAX_PROVENANCE,
    MAX_SIDE,
    MAX_VALUE,
)

from .graphs import GRAPHS
from .independent_reader import read

SCHEMA = json.loads(files("edgenet").joinpath("schema.json").read_text("utf-8"))


@pytest.fixture(params=GRAPHS)
def saved(request, tmp_path):
    """A graph and the bytes of its file."""
    graph = GRAPHS[request.param]()
    format.save(graph, tmp_path / "m.edgenet")
    return graph, (tmp_path / "m.edgenet").read_bytes()


def test_an_independent_reader_finds_everything(saved):
    graph, content = saved
    header, constants, scales = read(content)
    assert constants.keys() == graph.constants.keys()
    for name, array in graph.constants.items():
        np.testing.assert_array_equal(constants[name], array)
    names = [tensor["name"] for tensor in header["tensors"]]
    assert sorted(names) == sorted(graph.tensors)
    for entry in header["tensors"]:
        tensor = graph.tensors[entry["name"]]
        assert tuple(entry["shape"]) == tensor.shape
        assert entry["dtype"] == CODES[tensor.dtype]
        if tensor.quantization is not None:
            np.testing.assert_array_equal(scales[tensor.name], tensor.quantization.scale)
            assert entry.get("zero_point", 0) == tensor.quantization.zero_point
            assert entry.get("axis") == tensor.quantization.axis
    for entry, node in zip(header["nodes"], graph.nodes, strict=True):
        assert (entry["operation"], entry["name"], entry.get("source", "")) == (node.operation, node.name, node.source)
        assert {role: names[index] for role, index in entry["inputs"].items()} == node.inputs
        assert names[entry["output"]] == node.output
        defaults = {key: value.default for key, value in OPERATIONS[node.operation].attributes.items()}
        complete = {**defaults, **entry.get("attributes", {})}
        assert json.dumps(complete, sort_keys=True) == json.dumps(with_defaults(node).attributes, sort_keys=True)
    assert [names[index] for index in header["inputs"]] == graph.inputs
    assert [names[index] for index in header["outputs"]] == graph.outputs
    assert header["operations"] == {node.operation: OPERATIONS[node.operation].version for node in graph.nodes}
    golden = header.get("metadata", {}).get("golden_inputs", [])
    assert {names[i]: names[constant] for i, constant in golden} == graph.metadata.golden_inputs


def test_headers_follow_the_schema(saved):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    header, _, _ = read(saved[1])
    jsonschema.Draft202012Validator(SCHEMA).validate(header)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.update(extra=1),
        lambda h: h.pop("tensors"),
        lambda h: h["tensors"][0].update(dtype="F64"),
        lambda h: h["tensors"][0].update(shape=[-1, -1]),
        lambda h: h["tensors"][0].update(shape=[1] * 9),
        lambda h: h["tensors"][2].update(offset=32),
        lambda h: h["tensors"][0].update(axis=0),
        lambda h: h["nodes"][0].update(output=-1),
        lambda h: h["nodes"][0].update(inputs={}),
        lambda h: h["nodes"][0].update(attributes={"order": ["a"]}),
        lambda h: h["metadata"].update(labels=[""]),
        lambda h: h["metadata"]["preprocessing"].update(color="XYZ"),
        lambda h: h.update(edgenet="new"),
        lambda h: h.update(operations={"conv2d": 0}),
    ],
)
def test_the_schema_refuses(change, tmp_path):
    format.save(GRAPHS["float"](), tmp_path / "m")
    header, _, _ = read((tmp_path / "m").read_bytes())
    change(header)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(header)


def test_the_schema_s_bounds_are_those_of_the_reader():
    parts = SCHEMA["$defs"]
    assert SCHEMA["properties"]["tensors"]["maxItems"] == DEFAULT_LIMITS.tensors
    assert SCHEMA["properties"]["nodes"]["maxItems"] == DEFAULT_LIMITS.nodes
    assert parts["name"]["maxLength"] == MAX_NAME
    assert parts["node"]["properties"]["source"]["maxLength"] == MAX_SOURCE
    metadata = parts["metadata"]["properties"]
    assert (metadata["labels"]["maxItems"], metadata["labels"]["items"]["maxLength"]) == (MAX_LABELS, MAX_LABEL)
    assert metadata["provenance"]["maxProperties"] == MAX_PROVENANCE
    assert metadata["provenance"]["additionalProperties"]["maxLength"] == MAX_VALUE
    preprocessing = parts["preprocessing"]["properties"]
    assert tuple(preprocessing["interpolation"]["enum"]) == INTERPOLATIONS
    assert preprocessing["color"]["enum"] == list(CHANNELS)
    assert preprocessing["resize"]["maximum"] == preprocessing["crop"]["maximum"] == MAX_SIDE
    assert set(parts["tensor"]["properties"]["dtype"]["enum"]) == set(CODES.values())

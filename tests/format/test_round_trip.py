"""What is saved comes back: the same graph, the same results, the same bytes."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest

from edgenet import format, reference
from edgenet.errors import InputError, ModelFormatError
from edgenet.graph import Graph, Node
from edgenet.ops import OPERATIONS, with_defaults
from edgenet.validate import Limits

from .graphs import GRAPHS, float_graph


def listed(value):
    """`value` with tuples as lists, as JSON knows them."""
    if isinstance(value, dict):
        return {key: listed(entry) for key, entry in value.items()}
    return [listed(entry) for entry in value] if isinstance(value, list | tuple) else value


def assert_same(found: Graph, expected: Graph) -> None:
    assert found.tensors == expected.tensors
    assert found.inputs == expected.inputs
    assert found.outputs == expected.outputs
    assert found.metadata == expected.metadata
    complete = [dataclasses.asdict(with_defaults(node)) for node in expected.nodes]
    assert [dataclasses.asdict(node) for node in found.nodes] == listed(complete)
    assert found.constants.keys() == expected.constants.keys()
    for name, array in found.constants.items():
        assert array.dtype == expected.constants[name].dtype
        np.testing.assert_array_equal(array, expected.constants[name])


@pytest.mark.parametrize("name", GRAPHS)
def test_the_graph_comes_back(name, tmp_path):
    graph, path = GRAPHS[name](), tmp_path / "m.edgenet"
    format.save(graph, path)
    loaded = format.load(path)
    assert_same(loaded, graph)
    rng = np.random.default_rng(2)
    inputs = {n: rng.normal(size=graph.tensors[n].concrete(2)).astype(np.float32) for n in graph.inputs}
    expected, found = reference.run(graph, inputs), reference.run(loaded, inputs)
    for output, array in expected.items():
        np.testing.assert_array_equal(found[output], array)


def reordered(node: Node) -> Node:
    """The same node with roles and attributes in another order, and whole floats as integers."""
    inputs = node.inputs if OPERATIONS[node.operation].variadic else dict(reversed(node.inputs.items()))
    attributes = dict(reversed(node.attributes.items()))
    activation = attributes.get("activation")
    if activation:
        whole = {key: int(v) if isinstance(v, float) and v == int(v) else v for key, v in activation.items()}
        attributes["activation"] = dict(reversed(whole.items()))
    return dataclasses.replace(node, inputs=inputs, attributes=attributes)


@pytest.mark.parametrize("name", GRAPHS)
def test_bytes_are_deterministic(name, tmp_path):
    first, second, third = tmp_path / "1", tmp_path / "2", tmp_path / "3"
    graph = GRAPHS[name]()
    format.save(graph, first)
    shuffled = dataclasses.replace(
        graph,
        tensors=dict(reversed(graph.tensors.items())),
        constants=dict(reversed(graph.constants.items())),
        nodes=[reordered(with_defaults(node)) for node in graph.nodes],
    )
    format.save(shuffled, second)
    format.save(format.load(first), third)
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


def test_constants_are_read_only_views_of_the_mapped_file(tmp_path):
    path = tmp_path / "m.edgenet"
    format.save(float_graph(), path)
    for array in format.load(path).constants.values():
        assert not array.flags.writeable
        assert not array.flags.owndata
        assert array.ctypes.data % 64 == 0


def test_attributes_of_loaded_nodes_are_complete_and_not_shared(tmp_path):
    path = tmp_path / "m.edgenet"
    format.save(float_graph(), path)
    conv, depthwise = format.load(path).nodes[1:3]
    assert conv.attributes["stride"] == depthwise.attributes["stride"] == [1, 1]
    assert conv.attributes["stride"] is not depthwise.attributes["stride"]


def test_unused_constants_are_not_written(tmp_path):
    graph = float_graph()
    graph.add_constant("forgotten", np.zeros(1000, np.float32))
    format.save(graph, tmp_path / "m.edgenet")
    assert "forgotten" not in format.load(tmp_path / "m.edgenet").tensors


def test_saving_over_the_file_that_is_mapped(tmp_path):
    path = tmp_path / "m.edgenet"
    format.save(float_graph(), path)
    graph = format.load(path)
    before = path.read_bytes()
    format.save(graph, path)
    assert path.read_bytes() == before


def test_graph_save_is_the_same(tmp_path):
    float_graph().save(tmp_path / "a")
    format.save(float_graph(), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_invalid_graph_leaves_nothing_behind(tmp_path):
    graph = float_graph()
    graph.constants["conv.bias"][0] = np.nan
    with pytest.raises(ModelFormatError, match=r"conv\.bias' holds NaN"):
        format.save(graph, tmp_path / "m.edgenet")
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "m.edgenet"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        format.save(float_graph(), path)
    assert os.listdir(tmp_path) == ["m.edgenet"]
    assert path.read_bytes() == b"old"


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        format.save(float_graph(), tmp_path / "m.edgenet")
    assert os.listdir(tmp_path) == []


def test_paths_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        format.load(tmp_path / "missing.edgenet")
    with pytest.raises(InputError, match="not a regular file"):
        format.load(tmp_path)
    with pytest.raises(InputError, match="cannot be written"):
        format.save(float_graph(), tmp_path / "missing" / "m.edgenet")
    with pytest.raises(InputError, match="cannot be written"):
        format.save(float_graph(), tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"):
        format.load(tmp_path / "pipe")


def test_a_memory_limit_is_honoured(tmp_path):
    path = tmp_path / "m.edgenet"
    format.save(float_graph(), path)
    format.load(path, Limits(memory=10_000))
    with pytest.raises(ModelFormatError, match=r"m\.edgenet: the activations need more than the 1000 bytes"):
        format.load(path, Limits(memory=1000))
    with pytest.raises(ModelFormatError, match="one run needs more than the 1000 operations"):
        format.load(path, Limits(work=1000))

"""Rules on graphs in memory that a file cannot break, and on the values of constants."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgenet.errors import ModelFormatError
from edgenet.graph import Graph, Node, Preprocessing, Quantization, Tensor
from edgenet.ops import infer_shapes
from edgenet.validate import Limits, at_sizes, validate

from .graphs import GRAPHS, float_graph, int8_graph


@pytest.mark.parametrize("name", GRAPHS)
def test_valid_graphs_pass(name):
    validate(GRAPHS[name]())


def constant(name: str, index: int, value: float):
    """Set one value of a constant."""

    def change(graph: Graph) -> None:
        graph.constants[name].reshape(-1)[index] = value

    return change


def array(name: str, convert):
    """Replace a constant's array."""
    return lambda graph: graph.constants.update({name: convert(graph.constants[name])})


def tensor(name: str, /, **changes):
    return lambda graph: graph.tensors.update({name: dataclasses.replace(graph.tensors[name], **changes)})


def attribute(index: int, **values):
    return lambda graph: graph.nodes[index].attributes.update(values)


FLOAT = [
    (constant("conv.weight", 5, np.nan), r"'conv\.weight' holds NaN or infinite"),
    (constant("conv.bias", 0, -np.inf), r"'conv\.bias' holds NaN or infinite"),
    (constant("depthwise.weight", -1, np.inf), r"'depthwise\.weight' holds NaN or infinite"),
    (constant("golden.input", 0, np.nan), r"'golden\.input' holds NaN or infinite"),
    (constant("fc.weight", 3, -128), r"the weights 'fc\.weight' hold -128"),
    (array("conv.bias", lambda a: a.astype(np.float64)), "does not hold the declared float32"),
    (array("conv.bias", lambda a: a.astype(">f4")), "does not hold the declared float32"),
    (array("conv.bias", lambda a: a[:3]), r"does not hold the declared float32 of shape \(4,\)"),
    (array("conv.bias", lambda a: a.tolist()), "does not hold the declared float32"),
    (array("conv.bias", lambda a: np.repeat(a, 2)[::2]), "is not contiguous"),
    (lambda g: g.constants.update(other=np.zeros(1, np.float32)), "constant 'other' has no tensor"),
    (tensor("conv", name="other"), "registered under another name"),
    (tensor("conv", dtype="float64"), "unknown dtype 'float64'"),
    (tensor("conv", shape=[-1, 6, 7, 4]), "invalid rank"),
    (tensor("conv", shape=(-1, np.int64(6), 7, 4)), "invalid size"),
    (tensor("conv.bias", quantization=Quantization((1.0,))), "float32 and cannot have a scale"),
    (tensor("fc.weight", quantization=Quantization((1.0, 1.0), 0, 0)), "wrong number of scales"),
    (tensor("fc.weight", quantization=Quantization((1.0,) * 4 + (np.nan,), 0, 0)), "has the scale nan"),
    (tensor("fc.weight", quantization=Quantization((1.0,) * 4 + ("a",), 0, 0)), "has the scale 'a'"),
    (tensor("fc.weight", quantization=None), "mixes float32 with another dtype"),
    (attribute(1, stride=[1, 2**70]), "attribute 'stride' of node 'conv' is out of range"),
    (attribute(1, activation={"kind": "elu", "alpha": float("nan")}), "not finite in float32"),
    (attribute(1, groups=10**400), "is out of range"),
    (lambda g: g.nodes[1].attributes.update({3: 4}), "attribute whose name is not a string"),
    (lambda g: g.inputs.append("missing"), "'missing' is undeclared"),
    (lambda g: g.nodes.append(Node("flatten", "n", {"x": "missing"}, "flat2")), "'missing' as 'x', which is not"),
    (lambda g: setattr(g.metadata, "labels", ("a",) * 5), "labels must be a list"),
    (lambda g: setattr(g.metadata, "preprocessing", {"resize": 1}), "must be a Preprocessing"),
    (lambda g: setattr(g.metadata, "preprocessing", Preprocessing(mean=[0.0] * 3)), "one number for each channel"),
    (lambda g: g.metadata.golden_outputs.update(conv="conv.bias"), "do not name every graph output once"),
]

INT8 = [
    (constant("conv.weight", 0, -128), r"the weights 'conv\.weight' hold -128"),
    (constant("conv.bias", 0, 2**30 + 1), "exceeds 2"),
    (constant("conv.bias", 0, -(2**31)), "exceeds 2"),
    (constant("conv.multiplier", 0, -1e-9), "negative or larger"),
    (constant("conv.multiplier", 0, 1e30), "negative or larger"),
    (constant("conv.multiplier", 0, np.inf), "holds NaN or infinite"),
    (tensor("q", quantization=Quantization((0.02, 0.02, 0.02), 0, 3)), "activations have one scale"),
    (tensor("q", quantization=None), "the int8 activation 'q' has no scale"),
    (tensor("q", quantization=Quantization((0.02,), np.int8(3))), "zero point"),
    (tensor("q", quantization=Quantization((0.02,), True)), "zero point"),
]


@pytest.mark.parametrize(("change", "message"), FLOAT)
def test_broken_float_graphs(change, message):
    graph = float_graph()
    change(graph)
    with pytest.raises(ModelFormatError, match=message):
        validate(graph)


@pytest.mark.parametrize(("change", "message"), INT8)
def test_broken_int8_graphs(change, message):
    graph = int8_graph()
    change(graph)
    with pytest.raises(ModelFormatError, match=message):
        validate(graph)


def test_bounds_themselves_are_valid():
    graph = int8_graph()
    graph.constants["conv.bias"][:2] = 2**30, -(2**30)
    graph.constants["conv.multiplier"][:2] = 0, 2.0**64
    graph.constants["table"][0] = -128
    validate(graph)


def conv_graph(size: int, kernel: int, **attributes) -> Graph:
    """One convolution of one channel with square sizes, shapes as they follow."""
    graph = Graph({"x": Tensor("x", (-1, size, size, 1)), "y": Tensor("y", ())}, inputs=["x"], outputs=["y"])
    weight = graph.add_constant("w", np.ones((1, kernel, kernel, 1), np.float32))
    graph.nodes.append(Node("conv2d", "conv", {"x": "x", "weight": weight}, "y", attributes))
    graph.tensors["y"] = infer_shapes(graph)["y"]
    return graph


def test_limits():
    validate(conv_graph(8, 1))
    with pytest.raises(ModelFormatError, match="the activations need more than"):
        validate(conv_graph(50_000, 1))
    with pytest.raises(ModelFormatError, match="node 'conv' needs more than"):
        validate(conv_graph(1, 1, padding=[65535] * 4, stride=[65535, 65535]))
    with pytest.raises(ModelFormatError, match="operations that a model may use"):
        validate(conv_graph(20_000, 400))
    with pytest.raises(ModelFormatError, match="the constants need more than"):
        validate(conv_graph(200, 200), Limits(memory=159_999))
    with pytest.raises(ModelFormatError, match="3 tensors and 1 nodes, more than is accepted"):
        validate(conv_graph(8, 1), Limits(tensors=2))
    with pytest.raises(ModelFormatError, match="more than is accepted"):
        validate(conv_graph(8, 1), Limits(nodes=0))


def transposed_graph(channels: int, kernel: int, stride: int) -> Graph:
    """A transposed convolution of 2x2 pixels to one channel."""
    graph = Graph({"x": Tensor("x", (-1, 2, 2, channels)), "y": Tensor("y", ())}, inputs=["x"], outputs=["y"])
    weight = graph.add_constant("w", np.ones((1, kernel, kernel, channels), np.float32))
    graph.nodes.append(Node("conv_transpose2d", "up", {"x": "x", "weight": weight}, "y", {"stride": [stride, stride]}))
    graph.tensors["y"] = infer_shapes(graph)["y"]
    return graph


def test_the_zeros_of_a_transposed_convolution_count():
    validate(transposed_graph(64, 3, 1000))
    with pytest.raises(ModelFormatError, match="node 'up' needs more than"):
        validate(transposed_graph(1024, 1, 10_000))
    with pytest.raises(ModelFormatError, match="operations that a model may use"):
        validate(transposed_graph(64, 101, 1000), Limits(work=10**12))


def test_golden_batches_count():
    graph = float_graph()
    graph.constants["golden.input"] = np.ones((500, 3, 5, 3), np.float32)
    graph.tensors["golden.input"] = Tensor("golden.input", (500, 3, 5, 3))
    graph.constants["golden.probabilities"] = np.ones((500, 5), np.float32)
    graph.tensors["golden.probabilities"] = Tensor("golden.probabilities", (500, 5))
    validate(graph)
    with pytest.raises(ModelFormatError, match="the golden inputs do not fit: the activations need more"):
        validate(graph, Limits(memory=200_000))


def test_other_sizes():
    graph = float_graph()
    resized = at_sizes(graph, {"input": (3, 3, 20, 30)})
    assert resized.tensors["sum"].shape == (3, 20, 30, 4)
    assert resized.tensors["probabilities"].shape == (3, 5)
    assert graph.tensors["sum"].shape == (-1, 6, 7, 4)
    with pytest.raises(ModelFormatError, match="conv: conv2d weight"):
        at_sizes(graph, {"input": (3, 4, 20, 30)})
    with pytest.raises(ModelFormatError, match="the activations need more than"):
        at_sizes(graph, {"input": (100_000, 3, 200, 300)})

"""Costs of the worked examples, shape rules, and what validation refuses."""

import numpy as np
import pytest

from edgenet.graph import Node, Tensor
from edgenet.ops import OPERATIONS, OperationError, graph_cost, validate_node
from tests.ops.builder import one_node


def conv_cost(x, weight, bias=True, **attributes):
    arrays = {"x": np.zeros(x, np.float32), "weight": np.zeros(weight, np.float32)}
    if bias:
        arrays["bias"] = np.zeros(weight[0], np.float32)
    graph = one_node("conv2d", arrays, attributes, constants=("weight", "bias"))
    return graph.tensors["y"].shape, graph_cost(graph)["y"]


def test_ten_filters_of_5x5_on_a_colour_image():
    shape, cost = conv_cost((1, 32, 32, 3), (10, 5, 5, 3))
    assert shape == (1, 28, 28, 10)
    assert cost.parameters == 760


def test_one_filter_costs_117600_flops():
    assert conv_cost((1, 32, 32, 3), (1, 5, 5, 3))[1].flops == 117_600


def test_separable_leaves_the_predicted_share():
    filters = 64
    standard = conv_cost((1, 14, 14, 32), (filters, 3, 3, 32), padding=[1, 1, 1, 1])[1].flops
    depthwise = conv_cost((1, 14, 14, 32), (32, 3, 3, 1), padding=[1, 1, 1, 1], groups=32)[1].flops
    pointwise = conv_cost((1, 14, 14, 32), (filters, 1, 1, 32))[1].flops
    assert (depthwise + pointwise) / standard == pytest.approx(1 / filters + 1 / 9)


def conv_node(**attributes):
    return Node("conv2d", "node", {"x": "x", "weight": "w"}, "y", attributes)


TYPES = {"x": Tensor("x", (-1, 8, 8, 4)), "weight": Tensor("w", (6, 3, 3, 4))}


@pytest.mark.parametrize(
    "attributes",
    [
        {"stride": [0, 1]},
        {"stride": [1]},
        {"stride": [True, 1]},
        {"stride": [1.0, 1]},
        {"padding": [-1, 0, 0, 0]},
        {"padding": [2**40, 0, 0, 0]},
        {"dilation": [9, 1]},
        {"groups": 3},
        {"groups": None},
        {"colour": 1},
        {"q_min": 5, "q_max": 4},
        {"activation": {"kind": "relu7"}},
        {"activation": {"kind": "clamp", "min": float("nan"), "max": None}},
        {"activation": {"kind": "clamp", "min": 2.0, "max": 1.0}},
        {"activation": {"kind": "elu"}},
        {"activation": {"kind": ["elu"], "alpha": 1.0}},
    ],
)
def test_bad_attributes_are_refused(attributes):
    with pytest.raises(OperationError):
        validate_node(conv_node(**attributes), TYPES, Tensor("y", (-1, 6, 6, 6)), {"w": None})


def test_good_node_passes_and_wrong_shape_does_not():
    validate_node(conv_node(), TYPES, Tensor("y", (-1, 6, 6, 6)), {"w": None})
    with pytest.raises(OperationError, match="gives shape"):
        validate_node(conv_node(), TYPES, Tensor("y", (-1, 6, 6, 7)), {"w": None})
    with pytest.raises(OperationError, match="must be a constant"):
        validate_node(conv_node(), TYPES, Tensor("y", (-1, 6, 6, 6)), {})


def test_an_accumulator_that_could_overflow_is_refused():
    depth = 40_000
    types = {
        "x": Tensor("x", (-1, depth), "int8"),
        "weight": Tensor("w", (1, depth), "int8"),
        "bias": Tensor("b", (1,), "int32"),
        "multiplier": Tensor("m", (1,)),
    }
    node = Node("linear", "node", {"x": "x", "weight": "w", "bias": "b", "multiplier": "m"}, "y")
    with pytest.raises(OperationError, match="overflow"):
        validate_node(node, types, Tensor("y", (-1, 1), "int8"), {"w": None, "b": None, "m": None})


def test_every_operation_documents_itself():
    assert all(type(op).__doc__ for op in OPERATIONS.values())


@pytest.mark.parametrize(
    ("operation", "attributes", "x", "y"),
    [
        ("avg_pool2d", {"kernel": [4096, 4096]}, (-1, 4096, 4096, 1), (-1, 1, 1, 1)),
        ("adaptive_avg_pool2d", {"output_size": [1, 1]}, (-1, 4096, 4096, 1), (-1, 1, 1, 1)),
        ("mean", {"axes": [1, 2]}, (-1, 4096, 4096, 1), (-1, 1, 1, 1)),
    ],
)
def test_an_int8_average_that_could_overflow_is_refused(operation, attributes, x, y):
    node = Node(operation, "node", {"x": "x"}, "y", {**attributes, "multiplier": 1.0})
    with pytest.raises(OperationError, match="can overflow"):
        validate_node(node, {"x": Tensor("x", x, "int8")}, Tensor("y", y, "int8"), {})
    node.attributes["multiplier"] = None
    validate_node(node, {"x": Tensor("x", x)}, Tensor("y", y), {})


def test_a_pooling_window_in_the_padding_alone_is_refused():
    x, attributes = Tensor("x", (-1, 6, 1, 1)), {"kernel": [2, 1], "padding": [1, 1, 0, 0], "dilation": [7, 1]}
    with pytest.raises(OperationError, match="padding alone"):
        validate_node(Node("max_pool2d", "n", {"x": "x"}, "y", attributes), {"x": x}, Tensor("y", (-1, 1, 1, 1)), {})


def test_concat_of_different_ranks_is_refused():
    node = Node("concat", "node", {"x0": "a", "x1": "b"}, "y", {"axis": 1})
    with pytest.raises(OperationError, match="needs equal other sizes"):
        validate_node(node, {"x0": Tensor("a", (-1, 3)), "x1": Tensor("b", (-1,))}, Tensor("y", (-1, 4)), {})

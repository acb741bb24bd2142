"""Normalisation and resizing kernels against the oracle."""

import numpy as np
import pytest

from edgenet import reference
from tests.kernels.harness import FLOAT_TARGETS, TARGETS, check, execute
from tests.ops.builder import one_node

target_grid = pytest.mark.parametrize("target", FLOAT_TARGETS, ids=lambda t: t.name)
lengths = pytest.mark.parametrize("length", [1, 3, 16, 17, 31, 130])


def floats(shape, scale=2.0):
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32) * np.float32(scale)


@target_grid
@lengths
@pytest.mark.parametrize("operation", ["softmax", "log_softmax"])
def test_softmax(target, operation, length):
    for shape, axis in (((7, length), 1), ((2, 3, 5, length), 3), ((2, length, 5, 3), 1)):
        x = floats(shape, 8.0) - np.float32(50)
        check(one_node(operation, {"x": x}, {"axis": axis}), {"x": x}, target)


@target_grid
@pytest.mark.parametrize("operation", ["softmax", "log_softmax"])
def test_softmax_of_extreme_values(target, operation):
    x = np.zeros((4, 21), np.float32)
    x[0, 3], x[1, :5], x[1, 5:], x[2, 20], x[3] = 1e6, -np.inf, -1e30, np.nan, 3e38
    graph = one_node(operation, {"x": x}, {"axis": 1})
    expected = reference.run(graph, {"x": x})["y"]
    np.testing.assert_allclose(execute(graph, {"x": x}, target)[0]["y"], expected, rtol=1e-6)


@target_grid
@lengths
@pytest.mark.parametrize("roles", [("weight", "bias"), ("bias",), ()])
def test_layer_norm(target, length, roles):
    arrays = {"x": floats((2, 3, 5, length)) + np.float32(3), **{role: floats((length,)) for role in roles}}
    graph = one_node("layer_norm", arrays, {"epsilon": 1e-3}, constants=roles)
    check(graph, {"x": arrays["x"]}, target)


@target_grid
def test_layer_norm_of_long_rows(target):
    """Where every value is added to the sum of all before it, the mean of so many is off by more than 1e-4."""
    x = np.full((1, 3, 500_005), 0.1, np.float32)
    x[:, :, ::2] += np.float32(0.1)
    x[:, 1] += floats((500_005,), 0.01)
    x[:, 2] = floats((500_005,))
    graph = one_node("layer_norm", {"x": x}, {"epsilon": 1e-12})
    found, expected = execute(graph, {"x": x}, target)[0]["y"], reference.run(graph, {"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@target_grid
@lengths
@pytest.mark.parametrize("size", [1, 2, 5, 40])
def test_local_response_norm(target, length, size):
    x = floats((2, 3, 5, length), 10.0)
    attributes = {"size": size, "alpha": 0.01, "beta": 0.75, "k": 2.0}
    check(one_node("local_response_norm", {"x": x}, attributes), {"x": x}, target)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("channels", [1, 5, 16, 37])
@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "nearest", "size": [11, 7]},
        {"mode": "nearest", "scale": [2.0, 2.0]},
        {"mode": "bilinear", "size": [11, 13]},
        {"mode": "bilinear", "size": [3, 2], "align_corners": True},
        {"mode": "bilinear", "scale": [2.0, 1.5]},
        {"mode": "bilinear", "size": [1, 1], "align_corners": True},
    ],
)
def test_resize(target, dtype, channels, attributes):
    x = floats((2, 5, 6, channels))
    options = {}
    if dtype == "int8":
        x = np.random.default_rng(channels).integers(-128, 128, x.shape).astype(np.int8)
        bilinear = attributes["mode"] == "bilinear"
        options = {"quantization": {"x": (0.2, -6)}, "output": (0.1, 9) if bilinear else (0.2, -6)}
        if bilinear:
            attributes = {**attributes, "multiplier": 1.3, "q_min": -120, "q_max": 110}
    check(one_node("resize", {"x": x}, attributes, **options), {"x": x}, target)

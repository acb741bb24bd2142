"""The torch executor against the oracle: every operation in float32, every int8 one to the bit, whole networks."""

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet import reference
from edgenet.converter.quantize import quantize
from edgenet.converter.quantize.executor import Executor
from edgenet.converter.quantize.float_ops import ACTIVATIONS, FLOAT
from edgenet.converter.quantize.int8_ops import INT8
from edgenet.ops import OPERATIONS
from edgenet.ops.arithmetic import ACTIVATIONS as DECLARED_ACTIVATIONS
from tests.ops.builder import one_node
from tests.quantize.networks import NETWORKS, build, samples

rng = np.random.default_rng(3)


def real(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def codes(*shape):
    return rng.integers(-128, 128, shape).astype(np.int8)


def compare(graph, arrays):
    inputs = {name: arrays[name] for name in graph.inputs}
    return Executor(graph).run(inputs)["y"], reference.run(graph, inputs)["y"]


def test_every_operation_has_a_handler():
    float_only = {name for name, kind in OPERATIONS.items() if "float32" in kind.dtypes}
    assert set(FLOAT) | {"quantize"} == float_only
    assert set(INT8) == {name for name, kind in OPERATIONS.items() if "int8" in kind.dtypes}
    assert set(ACTIVATIONS) == set(DECLARED_ACTIVATIONS)


WINDOW = {"kernel": [3, 2], "stride": [2, 2], "padding": [1, 0, 0, 1], "ceil_mode": True}
FLOAT_CASES = [
    ("max_pool2d", (2, 7, 8, 5), {**WINDOW, "dilation": [1, 2]}),
    ("avg_pool2d", (2, 7, 8, 5), {**WINDOW, "count_include_pad": True}),
    ("avg_pool2d", (2, 7, 8, 5), {**WINDOW, "count_include_pad": False}),
    ("avg_pool2d", (2, 7, 8, 5), {**WINDOW, "divisor": 5}),
    ("adaptive_avg_pool2d", (2, 7, 8, 5), {"output_size": [3, 5]}),
    ("mean", (2, 7, 8, 5), {"axes": [1, 2], "keepdims": False}),
    ("softmax", (2, 7, 8, 5), {"axis": 3}),
    ("log_softmax", (2, 9), {"axis": 1}),
    ("layer_norm", (2, 7, 8, 5), {"epsilon": 1e-6}),
    ("local_response_norm", (2, 7, 8, 5), {"size": 4, "alpha": 0.3, "beta": 0.6, "k": 2.0}),
    ("slice", (2, 7, 8, 5), {"axis": 2, "start": -6, "stop": None, "step": 2}),
    ("pad", (2, 7, 8, 5), {"pads": [0, 0, 1, 0, 2, 3, 0, 1], "value": 1.5}),
    ("reshape", (2, 7, 8, 5), {"shape": [0, 8, -1]}),
    ("flatten", (2, 7, 8, 5), {"start_axis": 2}),
    ("permute", (2, 7, 8, 5), {"order": [0, 3, 1, 2]}),
    ("channel_shuffle", (2, 7, 8, 6), {"groups": 3}),
    ("pixel_shuffle", (2, 7, 8, 8), {"factor": 2}),
    ("resize", (2, 7, 8, 5), {"mode": "bilinear", "size": [11, 5]}),
    ("resize", (2, 7, 8, 5), {"mode": "bilinear", "size": [3, 16], "align_corners": True}),
    ("resize", (2, 7, 8, 5), {"mode": "nearest", "scale": [1.7, 0.6]}),
]


@pytest.mark.parametrize(("operation", "shape", "attributes"), FLOAT_CASES)
def test_float_operations_of_one_input(operation, shape, attributes):
    x = real(*shape)
    got, want = compare(one_node(operation, {"x": x}, attributes), {"x": x})
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    assert np.allclose(got, want, rtol=1e-5, atol=1e-5)


PARAMETERS = {"clamp": {"min": -0.5, "max": 0.8}, "leaky_relu": {"alpha": 0.2}, "elu": {"alpha": 0.7}}


@pytest.mark.parametrize("kind", sorted(DECLARED_ACTIVATIONS))
def test_activations(kind):
    x = np.linspace(-9, 9, 200, dtype=np.float32).reshape(2, 100)
    x = np.abs(x) + np.float32(0.1) if kind in ("sqrt", "log") else x
    graph = one_node("activation", {"x": x}, {"activation": {"kind": kind, **PARAMETERS.get(kind, {})}})
    got, want = compare(graph, {"x": x})
    assert np.allclose(got, want, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("operation", ["add", "sub", "mul", "div", "mask"])
def test_arithmetic(operation):
    arrays = {"a": real(2, 3, 4, 5), "b": np.abs(real(2, 1, 1, 5)) + np.float32(0.5)}
    if operation == "mask":
        arrays["b"] = np.trunc(arrays["b"])
    graph = one_node(operation, arrays, {"activation": {"kind": "clamp", "min": 0.0, "max": None}})
    got, want = compare(graph, arrays)
    assert np.allclose(got, want, rtol=1e-6)


def test_prelu_and_concat():
    arrays = {"x": real(2, 3, 4, 5), "slope": real(5)}
    got, want = compare(one_node("prelu", arrays, constants=("slope",)), arrays)
    assert np.allclose(got, want)
    parts = {"x0": real(2, 3, 4), "x1": real(2, 5, 4)}
    got, want = compare(one_node("concat", parts, {"axis": 1}), parts)
    assert np.array_equal(got, want)


geometry = st.fixed_dictionaries(
    {
        "stride": st.lists(st.integers(1, 3), min_size=2, max_size=2),
        "padding": st.lists(st.integers(0, 2), min_size=4, max_size=4),
        "dilation": st.lists(st.integers(1, 2), min_size=2, max_size=2),
        "groups": st.sampled_from([1, 2, 6]),
    }
)


@settings(max_examples=30, deadline=None)
@given(geometry, st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_float_convolutions(attributes, kh, kw, transposed):
    depth = 6 // attributes["groups"]
    if transposed:
        attributes = {**attributes, "padding": [0, 1, 1, 0], "stride": [2, 2]}
    arrays = {"x": real(2, 7, 8, 6), "weight": real(12, kh, kw, depth), "bias": real(12)}
    operation = "conv_transpose2d" if transposed else "conv2d"
    graph = one_node(operation, arrays, attributes, constants=("weight", "bias"))
    got, want = compare(graph, arrays)
    assert got.shape == want.shape
    assert np.allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 2, 0]])
@pytest.mark.parametrize("stride", [[2, 2], [1, 2], [3, 1]])
def test_strided_pointwise_convolutions_are_strided_before_torch(stride, padding, monkeypatch: pytest.MonkeyPatch):
    """oneDNN's gradient of such a convolution of few channels destroys memory."""
    strides = []

    def conv2d(x, weight, bias, stride, *rest):
        strides.append(list(stride))
        return torch_conv2d(x, weight, bias, stride, *rest)

    torch_conv2d = F.conv2d
    monkeypatch.setattr(F, "conv2d", conv2d)
    arrays = {"x": real(2, 7, 8, 4), "weight": real(16, 1, 1, 4), "bias": real(16)}
    graph = one_node("conv2d", arrays, {"stride": stride, "padding": padding}, constants=("weight", "bias"))
    got, want = compare(graph, arrays)
    assert strides == [[1, 1]]
    assert np.allclose(got, want, rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(geometry, st.integers(1, 3), st.sampled_from(["plain", "residual", "hardswish", "float"]))
def test_int8_convolutions_to_the_bit(attributes, kernel, kind):
    arrays = {
        "x": codes(2, 7, 8, 6),
        "weight": rng.integers(-127, 128, (12, kernel, kernel, 6 // attributes["groups"])).astype(np.int8),
        "bias": rng.integers(-(2**26), 2**26, 12).astype(np.int32),
        "multiplier": (rng.random(12) * 2e-3).astype(np.float32),
    }
    quantization, output = {"x": (0.02, 5)}, None if kind == "float" else (0.05, -4)
    attributes = {**attributes, "q_min": -100}
    if kind == "residual":
        shape = one_node("conv2d", arrays, attributes, constants=("weight", "bias", "multiplier"),
                         quantization=quantization, output=output).tensors["y"].shape  # fmt: skip
        arrays["residual"], quantization["residual"] = codes(*shape), (0.03, 9)
        attributes["residual_multiplier"] = 0.37
    if kind == "hardswish":
        attributes |= {"activation": {"kind": "hardswish"}, "output_multiplier": 3.3}
    graph = one_node(
        "conv2d",
        arrays,
        attributes,
        constants=("weight", "bias", "multiplier"),
        quantization=quantization,
        output=output,
    )
    got, want = compare(graph, arrays)
    assert np.array_equal(got, want)


INT8_CASES = [
    ("avg_pool2d", {**WINDOW, "count_include_pad": False, "multiplier": 1.3}, (0.2, -3)),
    ("avg_pool2d", {**WINDOW, "divisor": 7, "multiplier": 1.3}, (0.2, -3)),
    ("adaptive_avg_pool2d", {"output_size": [3, 5], "multiplier": 0.9}, (0.2, -3)),
    ("mean", {"axes": [1, 2], "multiplier": 0.9}, (0.1, 2)),
    ("resize", {"mode": "bilinear", "size": [11, 5], "multiplier": 0.9}, (0.1, 2)),
    ("resize", {"mode": "nearest", "size": [11, 5]}, (0.1, 7)),
    ("max_pool2d", {**WINDOW, "dilation": [1, 1]}, (0.1, 7)),
    ("pad", {"pads": [0, 0, 1, 0, 2, 3, 0, 1], "quantized_value": 11}, (0.1, 7)),
    ("requantize", {"multiplier": 0.43}, (0.2, -100)),
]


@pytest.mark.parametrize(("operation", "attributes", "output"), INT8_CASES)
def test_int8_operations_to_the_bit(operation, attributes, output):
    x = codes(2, 7, 8, 5)
    graph = one_node(operation, {"x": x}, attributes, quantization={"x": (0.1, 7)}, output=output)
    got, want = compare(graph, {"x": x})
    assert np.array_equal(got, want)


@pytest.mark.parametrize("operation", ["add", "sub", "mul"])
def test_int8_arithmetic_to_the_bit(operation):
    arrays = {"a": codes(2, 3, 4, 5), "b": codes(2, 1, 1, 5)}
    attributes = {"multiplier": 0.011} if operation == "mul" else {"multiplier_a": 0.7, "multiplier_b": 0.3}
    quantization = {"a": (0.1, 3), "b": (0.2, -9)}
    got, want = compare(one_node(operation, arrays, attributes, quantization=quantization, output=(0.3, 11)), arrays)
    assert np.array_equal(got, want)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks(name):
    graph = build(name)
    inputs = {graph.inputs[0]: samples(1, seed=9, batch=3)[0]}
    got, want = Executor(graph).run(inputs), reference.run(graph, inputs)
    for key in graph.outputs:
        assert np.allclose(got[key], want[key], rtol=1e-4, atol=1e-5)
    int8 = quantize(graph, samples(2))
    got, want = Executor(int8).run(inputs), reference.run(int8, inputs)
    for key in graph.outputs:
        assert np.allclose(got[key], want[key], rtol=1e-4, atol=1e-5)


def test_observer_sees_every_activation():
    graph, seen = build("branches"), {}
    x = samples(1)[0]
    Executor(graph).run({graph.inputs[0]: x}, lambda name, value: seen.update({name: value.numpy().copy()}))
    want = reference.run(graph, {graph.inputs[0]: x}, keep=True)
    assert set(seen) == set(want)
    assert all(np.allclose(seen[name], want[name], rtol=1e-4, atol=1e-5) for name in want)

"""Elementwise kernels against the oracle: every activation, broadcasting, int8 rounding, special values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet import reference
from edgenet.graph import Node, Quantization, Tensor
from edgenet.ops.arithmetic import ACTIVATIONS
from tests.kernels.harness import FLOAT_TARGETS, TARGETS, check, execute
from tests.ops.builder import one_node

target_grid = pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
float_grid = pytest.mark.parametrize("target", FLOAT_TARGETS, ids=lambda t: t.name)
PARAMETERS = {"alpha": 0.3, "min": -1.0, "max": 2.0}
SPECIAL = np.array([0, -0.0, 1e-30, -1e-30, 1e30, -1e30, np.inf, -np.inf, np.nan, 88.5, -88.5, -103, 21], np.float32)


def floats(shape, seed=0, scale=3.0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32) * np.float32(scale)


def bytes_(shape, seed=0):
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def settings_of(kind):
    return {"kind": kind, **{name: PARAMETERS[name] for name in ACTIVATIONS[kind][0]}}


@float_grid
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activation(target, kind):
    x = np.abs(floats((3, 5, 301))) if kind in ("sqrt", "log") else floats((3, 5, 301))
    check(one_node("activation", {"x": x}, {"activation": settings_of(kind)}), {"x": x}, target)


@float_grid
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activation_of_special_values(target, kind):
    x = np.tile(SPECIAL, 3)[None]
    graph = one_node("activation", {"x": x}, {"activation": settings_of(kind)})
    expected = reference.run(graph, {"x": x})["y"]
    np.testing.assert_allclose(execute(graph, {"x": x}, target)[0]["y"], expected, rtol=2e-6, atol=1e-15)


@pytest.mark.parametrize("kind", [k for k in ACTIVATIONS if k not in ("sqrt", "gelu", "gelu_tanh", "erf")])
def test_activation_is_accurate_relative_to_each_value(kind):
    x = np.concatenate([floats((1, 20000), scale=s) for s in (0.01, 1.0, 8.0, 25.0)], axis=1)
    graph = one_node("activation", {"x": x}, {"activation": settings_of(kind)})
    expected = reference.run(graph, {"x": x})["y"]
    np.testing.assert_allclose(execute(graph, {"x": x}, TARGETS[-1])[0]["y"], expected, rtol=2e-6, atol=1e-37)


BROADCASTS = [
    ((2, 5, 6, 24), (2, 5, 6, 24)),
    ((2, 5, 6, 19), (2, 1, 1, 19)),
    ((2, 1, 1, 16), (2, 5, 6, 16)),
    ((2, 5, 6, 7), (7,)),
    ((2, 5, 6, 33), (1,)),
    ((2, 5, 6, 33), (2, 5, 6, 1)),
    ((2, 1, 6, 1), (2, 5, 1, 9)),
    ((3, 4, 2, 5), (3, 1, 2, 1)),
    ((1, 70, 131), (1, 70, 131)),
    ((2, 9000), (1,)),
    ((1,), (1,)),
]


@float_grid
@pytest.mark.parametrize(("a", "b"), BROADCASTS)
def test_mask(target, a, b):
    """Places that are not kept are 0, whatever they held."""
    arrays = {"a": floats(a, 1), "b": floats(b, 2)}
    arrays["b"][arrays["b"] < 0.5] = 0
    arrays["a"].reshape(-1)[::7] = np.inf
    arrays["b"].reshape(-1)[::11] = np.nan
    check(one_node("mask", arrays), arrays, target)


@float_grid
@pytest.mark.parametrize("operation", ["add", "sub", "mul", "div"])
@pytest.mark.parametrize(("a", "b"), BROADCASTS)
def test_binary(target, operation, a, b):
    arrays = {"a": floats(a, 1), "b": floats(b, 2)}
    arrays["b"] += np.where(arrays["b"] < 0, np.float32(-0.5), np.float32(0.5))
    act = {"kind": "clamp", "min": -2.0, "max": None}
    check(one_node(operation, arrays, {"activation": act}), arrays, target)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_broadcast_of_any_shapes(data):
    rank = data.draw(st.integers(1, 4))
    out = [data.draw(st.sampled_from([1, 2, 3, 17])) for _ in range(rank)]
    shapes = [tuple(data.draw(st.sampled_from([1, n])) for n in out) for _ in "ab"]
    shapes[1] = shapes[1][data.draw(st.integers(0, rank - 1)) :]
    arrays = {"a": floats(shapes[0], 1), "b": floats(shapes[1], 2)}
    stored = {"a": bytes_(shapes[0], 1), "b": bytes_(shapes[1], 2)}
    quantized = {"quantization": {"a": (0.1, 5), "b": (0.1, -128)}, "output": (0.2, -7)}
    for target in TARGETS:
        check(one_node("sub", arrays), arrays, target)
        check(one_node("mul", stored, {"multiplier": 0.013}, **quantized), stored, target)


@float_grid
@pytest.mark.parametrize("kind", ["silu", "leaky_relu"])
def test_binary_with_another_activation(target, kind):
    arrays = {"a": floats((2, 5, 1, 19), 1), "b": floats((2, 5, 3, 19), 2)}
    check(one_node("add", arrays, {"activation": settings_of(kind)}), arrays, target)


@target_grid
def test_binary_with_a_compressed_constant(target):
    arrays = {"a": floats((2, 5, 3, 19), 1), "b": floats((19,), 2).astype(np.float16)}
    check(one_node("mul", arrays, constants=("b",)), {"a": arrays["a"]}, target)
    arrays["b"] = bytes_((19,), 2)
    graph = one_node("mul", arrays, constants=("b",), quantization={"b": (0.05, 3)})
    check(graph, {"a": arrays["a"]}, target)


@target_grid
@pytest.mark.parametrize("operation", ["add", "sub", "mul"])
@pytest.mark.parametrize(("a", "b"), BROADCASTS)
def test_binary_int8(target, operation, a, b):
    arrays = {"a": bytes_(a, 1), "b": bytes_(b, 2)}
    multipliers = {"multiplier": 0.013} if operation == "mul" else {"multiplier_a": 0.5, "multiplier_b": 0.25}
    attributes = {**multipliers, "q_min": -100, "q_max": 90}
    options = {"quantization": {"a": (0.1, 5), "b": (0.1, -128)}, "output": (0.2, -7)}
    check(one_node(operation, arrays, attributes, **options), arrays, target)


@target_grid
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    "shape",
    [(1, 2, 2, 16), (2, 3, 3, 40), (1, 7, 5, 21), (3, 4, 19), (1, 1, 3, 16), (1, 4, 4, 3), (2, 7, 5, 64), (2, 5, 8)],
)
def test_image_times_factors(target, shape, swapped):
    """Each sample has factors of its own; small images and few channels go another way."""
    factors = (shape[0], *[1] * (len(shape) - 2), shape[-1])
    a, b = (factors, shape) if swapped else (shape, factors)
    arrays = {"a": bytes_(a, 1), "b": bytes_(b, 2)}
    options = {"quantization": {"a": (0.1, 5), "b": (0.1, -128)}, "output": (0.2, -7)}
    for multiplier in (0.013, 3e4):
        graph = one_node("mul", arrays, {"multiplier": multiplier, "q_min": -100, "q_max": 90}, **options)
        plan = check(graph, arrays, target)
        pixels = int(np.prod(shape[1:-1]))
        gated = "s8_gate" if pixels >= 4 and shape[-1] >= target.lanes else "s8_mul"
        assert plan.steps[-1].kernel == ("s8_gate_wide" if shape[-1] >= 4 * target.lanes else gated)
    graph = one_node("mul", arrays, {"multiplier": 4e4}, **options)
    assert check(graph, arrays, target).steps[-1].kernel == "s8_mul"


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_add_int8_rounds_as_defined(data):
    number = st.integers(-128, 127)
    zeros = [data.draw(number) for _ in range(3)]
    low, high = sorted((data.draw(number), data.draw(number)))
    scale = st.floats(1e-4, 40)
    attributes = {"multiplier_a": data.draw(scale), "multiplier_b": data.draw(scale), "q_min": low, "q_max": high}
    arrays = {
        "a": np.tile(np.arange(-128, 128).astype(np.int8), 4)[None],
        "b": bytes_((1, 1024), data.draw(number) + 128),
    }
    options = {"quantization": {"a": (1.0, zeros[0]), "b": (1.0, zeros[1])}, "output": (1.0, zeros[2])}
    graph = one_node("add", arrays, attributes, **options)
    for target in TARGETS:
        check(graph, arrays, target)


@float_grid
@pytest.mark.parametrize("slopes", [1, 19])
def test_prelu(target, slopes):
    arrays = {"x": floats((2, 5, 3, 19)), "slope": floats((slopes,), 3)}
    check(one_node("prelu", arrays, constants=("slope",)), {"x": arrays["x"]}, target)


@target_grid
@pytest.mark.parametrize("count", [1, 3, 16, 131, 5000])
def test_quantize_dequantize_requantize(target, count):
    x = floats((1, count), count, 20.0)
    x[0, ::7] = 0.125 * np.arange(len(x[0, ::7]))  # ties
    check(one_node("quantize", {"x": x}, {"inverse_scale": 4.0}, output=(0.25, 11)), {"x": x}, target)
    q = bytes_((1, count), count)
    check(one_node("dequantize", {"x": q}, quantization={"x": (0.3, -9)}, dtype="float32"), {"x": q}, target)
    graph = one_node("requantize", {"x": q}, {"multiplier": 1.5}, quantization={"x": (0.3, -9)}, output=(0.2, 30))
    check(graph, {"x": q}, target)


@target_grid
def test_quantize_special_values(target):
    x = np.tile(SPECIAL, 3)[None]
    check(one_node("quantize", {"x": x}, {"inverse_scale": 1.0}, output=(1.0, 100)), {"x": x}, target)


@target_grid
@pytest.mark.parametrize("count", [1, 15, 16, 33, 127, 128, 5001])
def test_table(target, count):
    arrays = {"x": bytes_((1, count), count), "table": bytes_(256, 5)}
    options = {"quantization": {"x": (1.0, 4)}, "output": (1.0, 0), "constants": ("table",)}
    check(one_node("table", arrays, **options), {"x": arrays["x"]}, target)


@target_grid
@pytest.mark.parametrize("channels", [1, 5, 16, 37])
def test_table_of_each_channel(target, channels):
    arrays = {"x": bytes_((2, 7, 9, channels), channels), "table": bytes_((channels, 256), 5)}
    options = {"quantization": {"x": (1.0, 4)}, "output": (1.0, 0), "constants": ("table",)}
    check(one_node("table", arrays, **options), {"x": arrays["x"]}, target)


@target_grid
@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 5, 19), 3), ((2, 3, 5, 19), 1), ((1, 70, 90, 4), 1), ((3, 7), 1)])
def test_concat(target, shape, axis):
    arrays = {
        f"x{i}": floats((*shape[:axis], size, *shape[axis + 1 :]), i) for i, size in enumerate((shape[axis], 1, 8))
    }
    check(one_node("concat", arrays, {"axis": axis}), arrays, target)
    arrays = {role: bytes_(array.shape, i) for i, (role, array) in enumerate(arrays.items())}
    attributes = {"axis": axis, "multipliers": [1.0, 0.75, 1.0], "q_min": -90, "q_max": 100}
    quantization = {"x0": (0.5, 3), "x1": (0.2, -8), "x2": (0.5, 9)}
    check(one_node("concat", arrays, attributes, quantization=quantization, output=(0.5, 3)), arrays, target)


@target_grid
@pytest.mark.parametrize("shape", [(1, 3, 33, 31), (2, 3, 80, 64), (2, 1, 5, 7), (1, 4, 9, 8), (1, 17, 3, 5)])
def test_permute_and_quantize(target, shape):
    x = floats(shape, 2, 50.0)
    x[0, 0, 0, :5] = np.nan, 1e9, -3e9, np.inf, -np.inf
    order = {"order": [0, 2, 3, 1]}
    graph = one_node("permute", {"x": x}, order)
    image = graph.tensors["y"].shape
    graph.tensors["q"] = Tensor("q", image, "int8", Quantization((1.0,), -20))
    graph.nodes.append(Node("quantize", "quantize", {"x": "y"}, "q", {"inverse_scale": 1.0}))
    graph.outputs = ["q"]
    plan = check(graph, {"x": x}, target)
    assert (len(plan.steps) == 1) == (shape[1] == 3)

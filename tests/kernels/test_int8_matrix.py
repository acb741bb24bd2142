"""int8 matrix kernels against the oracle, bit for bit: sizes around the tiles, every epilogue, extreme values."""

from typing import Any

import numpy as np
import pytest

from edgenet.kernels.isa import InstructionSet
from tests.kernels.harness import TARGETS, check
from tests.ops.builder import one_node

each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
HARDSWISH: dict[str, Any] = {"activation": {"kind": "hardswish"}, "output_multiplier": 0.11}


def layer(rng, x, weight, x_zero=3, fill=None):
    """Arrays of an int8 layer: `x` and `weight` are shapes; the sums land around the range of int8."""
    products = int(np.prod(weight[1:]))
    arrays = {
        "x": rng.integers(-128, 128, x).astype(np.int8),
        "weight": rng.integers(-127, 128, weight).astype(np.int8),
        "bias": rng.integers(-5000, 5000, weight[0]).astype(np.int32),
        "multiplier": rng.uniform(0.3, 1.5, weight[0]).astype(np.float32) / np.float32(60 * np.sqrt(products)),
    }
    if fill is not None:
        arrays["x"][...], arrays["weight"][...] = fill
    return arrays, {"x": (0.5, x_zero), "weight": (1.0, 0)}


def run(
    target: InstructionSet,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    operation: str = "linear",
    residual: bool = False,
    output: tuple[float, int] | None = (0.25, -7),
    x_zero: int = 3,
    fill: tuple[int, int] | None = None,
    threads: int = 1,
    **attributes: Any,
):
    """Check one layer of random values. `output` None: float32."""
    rng = np.random.default_rng(sum(x) * 31 + sum(weight) + x_zero)
    arrays, quantization = layer(rng, x, weight, x_zero, fill)
    constants = ("weight", "bias", "multiplier")

    def graph():
        return one_node(
            operation, arrays, attributes, constants=constants, quantization=quantization, output=output,
            dtype="int8" if output else "float32",
        )  # fmt: skip

    built = graph()
    if residual:
        arrays["residual"] = rng.integers(-128, 128, built.tensors["y"].shape).astype(np.int8)
        quantization["residual"] = (0.1, 11)
        attributes["residual_multiplier"] = 0.7
        built = graph()
    return check(built, {name: arrays[name] for name in built.inputs}, target, threads)


@each_target
@pytest.mark.parametrize("pixels", [1, 2, 5, 6, 7, 11, 14, 15, 49])
@pytest.mark.parametrize("channels", [1, 4, 7, 8, 9, 16, 17, 31, 32, 33, 48, 72])
def test_sizes(target, pixels, channels):
    run(target, (pixels, 37), (channels, 37))


@each_target
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6, 7, 8, 31, 32, 33, 63, 130])
def test_depths(target, depth):
    run(target, (9, depth), (20, depth), x_zero=-128)


@each_target
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("output", [(0.25, -7), (0.25, -128), (0.25, 127), None])
@pytest.mark.parametrize("attributes", [{}, {"q_min": -7, "q_max": 90}, HARDSWISH, {"q_min": 5, "q_max": 5}])
@pytest.mark.parametrize("channels", [32, 21])
def test_epilogues(target, residual, output, attributes: dict[str, Any], channels):
    if output is None:
        clamp: Any = {"kind": "clamp", "min": -3.1, "max": 55.5} if attributes else None
        attributes = {"activation": clamp}
    run(target, (17, 40), (channels, 40), residual=residual, output=output, **attributes)


@each_target
@pytest.mark.parametrize("x", [-128, 127])
@pytest.mark.parametrize("weight", [-127, 127])
@pytest.mark.parametrize("x_zero", [-128, 0, 127])
def test_extreme_values(target, x, weight, x_zero):
    run(target, (7, 600), (17, 600), fill=(x, weight), x_zero=x_zero)


@each_target
def test_halves_round_to_even(target):
    x = np.arange(-128, 128).astype(np.int8).reshape(-1, 1)
    arrays = {
        "x": x,
        "weight": np.array([[1], [-1], [3]], np.int8),
        "bias": np.array([0, 1, 2], np.int32),
        "multiplier": np.array([0.5, 0.5, 0.25], np.float32),
    }
    graph = one_node(
        "linear", arrays, {}, constants=("weight", "bias", "multiplier"), quantization={"x": (1.0, 1)}, output=(1.0, 1)
    )
    check(graph, {"x": x}, target)


@each_target
def test_sums_far_outside_of_the_output(target):
    arrays, quantization = layer(np.random.default_rng(0), (5, 64), (24, 64))
    arrays["multiplier"] = np.full(24, 3e5, np.float32)
    graph = one_node(
        "linear", arrays, {}, constants=("weight", "bias", "multiplier"), quantization=quantization, output=(1.0, 4)
    )
    check(graph, {"x": arrays["x"]}, target)


@each_target
@pytest.mark.parametrize("threads", [1, 3])
def test_pointwise_convolution(target, threads):
    run(target, (2, 13, 11, 24), (40, 1, 1, 24), "conv2d", threads=threads, residual=True)


@each_target
def test_many_pixels_and_deep_rows(target):
    run(target, (300, 700), (70, 700), threads=2)

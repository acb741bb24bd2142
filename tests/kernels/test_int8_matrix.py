"""int8 matrix kernels against the oracle, bit for bit: sizes around the tiles, every epilogue, extreme values."""

from typing import Any

import numpy as np
import pytest

from edgenet.kernels.table_int8 import group_depth
from tests.kernels.harness import check
from tests.kernels.int8_layers import HARDSWISH, each_target, layer, run
from tests.ops.builder import one_node


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
@pytest.mark.parametrize("channels", [32, 24, 21])
def test_epilogues(target, residual, output, attributes: dict[str, Any], channels):
    if output is None:
        clamp: Any = {"kind": "clamp", "min": -3.1, "max": 55.5} if attributes else None
        attributes = {"activation": clamp}
    run(target, (17, 40), (channels, 40), residual=residual, output=output, **attributes)


@each_target
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("output", [(0.25, -7), None])
@pytest.mark.parametrize("attributes", [{}, HARDSWISH])
@pytest.mark.parametrize(("channels", "depth"), [(150, 75), (1000, 1280), (16, 3)])
def test_one_pixel(target, residual, output, attributes: dict[str, Any], channels, depth):
    if output is None:
        attributes = {"activation": None}
    plan = run(target, (1, depth), (channels, depth), residual=residual, output=output, threads=3, **attributes)
    assert plan.steps[-1].kernel.startswith("s8_gemv" if group_depth(target) == 2 else "s8_pw")


@each_target
@pytest.mark.parametrize("pixels", [1, 7])
@pytest.mark.parametrize("x", [-128, 127])
@pytest.mark.parametrize("weight", [-127, 127])
@pytest.mark.parametrize("x_zero", [-128, 0, 127])
def test_extreme_values(target, pixels, x, weight, x_zero):
    run(target, (pixels, 600), (17, 600), fill=(x, weight), x_zero=x_zero)


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

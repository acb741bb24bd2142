"""int8 pointwise convolutions by Strassen's algorithm against the oracle, bit for bit, where products take int16."""

from typing import Any

import numpy as np
import pytest

from edgenet.graph import Graph
from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table_int8 import gemm_tile, group_depth
from edgenet.prepare.prepare import prepare
from tests.kernels.harness import check
from tests.kernels.int8_layers import HARDSWISH, each_target, layer, run
from tests.ops.builder import one_node


def pointwise(target: InstructionSet, image: tuple[int, int], depth: int, channels: int, **settings: Any) -> None:
    """Check one layer, and that it is computed as this file is about."""
    plan = run(target, (1, *image, depth), (channels, 1, 1, depth), "conv2d", **settings)
    assert any("strassen" in step.kernel for step in plan.steps) == (group_depth(target) == 2)


def one_layer(arrays: dict[str, np.ndarray], quantization: dict[str, tuple[float, int]]) -> Graph:
    """A graph of one pointwise convolution."""
    constants = ("weight", "bias", "multiplier")
    return one_node("conv2d", arrays, {}, constants=constants, quantization=quantization, output=(0.25, 3))


@each_target
@pytest.mark.parametrize("image", [(6, 8), (7, 7), (5, 11), (9, 13), (14, 14)])
@pytest.mark.parametrize("channels", [256, 257, 296, 320])
def test_sizes(target, image, channels):
    pointwise(target, image, 256, channels)


@each_target
@pytest.mark.parametrize("depth", [256, 264, 280, 312, 1000])
def test_depths(target, depth):
    pointwise(target, (7, 8), depth, 264, x_zero=-128)


@each_target
@pytest.mark.parametrize("channels", [160, 175, 192])
@pytest.mark.parametrize("depth", [96, 112, 136])
def test_less_depth_and_channels_of_more_pixels(target, depth, channels):
    pointwise(target, (12, 13), depth, channels)


@each_target
@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("image", [(16, 17), (7, 7)])
def test_threads(target, threads, image):
    pointwise(target, image, 272, 400, threads=threads)


@each_target
def test_more_pixels_than_a_block_has(target):
    pointwise(target, (31, 29), 512, 256, threads=2)


@each_target
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("output", [(0.25, -7), (0.25, -128), None])
@pytest.mark.parametrize("attributes", [{}, {"q_min": -7, "q_max": 90}, HARDSWISH])
def test_epilogues(target, residual, output, attributes: dict[str, Any]):
    if output is None:
        clamp: Any = {"kind": "clamp", "min": -3.1, "max": 55.5} if attributes else None
        attributes = {"activation": clamp}
    pointwise(target, (7, 7), 256, 290, residual=residual, output=output, **attributes)


@each_target
@pytest.mark.parametrize("x", [-128, 127])
@pytest.mark.parametrize("weight", [-127, 127])
@pytest.mark.parametrize("x_zero", [-128, 127])
def test_extreme_values(target, x, weight, x_zero):
    pointwise(target, (7, 7), 2048, 256, fill=(x, weight), x_zero=x_zero)


@each_target
def test_the_largest_sums_of_operands(target):
    """Extreme values that alternate between halves of the depth, tiles and panels: no sum of operands can be larger."""
    rows, _, vectors = gemm_tile(target)
    arrays, quantization = layer(np.random.default_rng(0), (1, 7, 8, 256), (256, 1, 1, 256))
    half, pixel, channel = np.arange(256) // 128, np.arange(56), np.arange(256)
    tiles, panels = (pixel // rows).reshape(1, 7, 8, 1), (channel // (vectors * target.lanes)).reshape(-1, 1, 1, 1)
    arrays["x"][...] = np.where((tiles + half) % 2, 127, -128)
    arrays["weight"][...] = np.where((panels + half) % 2, 127, -127)
    check(one_layer(arrays, quantization), {"x": arrays["x"]}, target)


@each_target
def test_where_it_does_not_serve(target):
    """Neither where products are to be direct, nor for the least memory, nor for few pixels, channels or values."""
    plans = []
    for image, depth, channels, settings in (
        ((7, 7), 256, 256, {"winograd": False}),
        ((7, 7), 256, 256, {"memory": "low"}),
        ((6, 7), 256, 256, {}),
        ((7, 7), 248, 256, {}),
        ((14, 14), 256, 152, {}),
        ((14, 14), 88, 256, {}),
    ):
        arrays, quantization = layer(np.random.default_rng(0), (1, *image, depth), (channels, 1, 1, depth))
        plans.append(prepare(one_layer(arrays, quantization), {"x": arrays["x"].shape}, target, 1, **settings))
    assert not any("strassen" in step.kernel for plan in plans for step in plan.steps)

"""int8 matrix products of pairs of bytes against the oracle, bit for bit, where products take int16 otherwise."""

from typing import Any

import numpy as np
import pytest

from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table_int8 import has_byte_pairs
from edgenet.prepare import lower_int8_pairs
from tests.kernels.harness import ALL_TARGETS, check
from tests.kernels.int8_layers import HARDSWISH, layer
from tests.ops.builder import one_node

each_target = pytest.mark.parametrize("target", [t for t in ALL_TARGETS if has_byte_pairs(t)], ids=lambda t: t.name)


def trained(rng: np.random.Generator, shape: tuple[int, ...], spread: float = 40.0) -> np.ndarray:
    """int8 weights as layers have them: few are great."""
    return np.clip(np.rint(rng.normal(0, spread, shape)), -127, 127).astype(np.int8)


def run(
    target: InstructionSet,
    pixels: int,
    channels: int,
    depth: int,
    threads: int = 1,
    pairs: bool = True,
    residual: bool = False,
    output: tuple[float, int] | None = (0.25, -7),
    x_zero: int = 3,
    spread: float = 40.0,
    **attributes: Any,
) -> None:
    """Check a pointwise layer, and whether it is computed as this file is about."""
    rng = np.random.default_rng(pixels * 31 + channels + depth)
    arrays, quantization = layer(rng, (1, pixels, 1, depth), (channels, 1, 1, depth), x_zero)
    arrays["weight"] = trained(rng, arrays["weight"].shape, spread)
    if residual:
        arrays["residual"] = rng.integers(-128, 128, (1, pixels, 1, channels)).astype(np.int8)
        quantization["residual"] = (0.1, 11)
        attributes["residual_multiplier"] = 0.7
    graph = one_node(
        "conv2d", arrays, attributes, constants=("weight", "bias", "multiplier"), quantization=quantization,
        output=output, dtype="int8" if output else "float32",
    )  # fmt: skip
    plan = check(graph, {name: arrays[name] for name in graph.inputs}, target, threads)
    assert any(step.kernel.startswith("s8_pairs") for step in plan.steps) == pairs


@pytest.fixture
def always(monkeypatch):
    """Pairs of bytes for every layer, whatever they cost."""
    monkeypatch.setattr(lower_int8_pairs, "_WORTH", 100.0)


@each_target
@pytest.mark.parametrize("pixels", [2, 5, 6, 7, 11, 14, 15, 49])
@pytest.mark.parametrize("channels", [1, 7, 8, 9, 16, 17, 31, 32, 33, 72])
def test_sizes(target, pixels, channels, always):
    run(target, pixels, channels, 37)


@each_target
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130, 600])
@pytest.mark.parametrize("spread", [10.0, 40.0, 90.0])
def test_depths(target, depth, spread, always):
    run(target, 9, 40, depth, x_zero=-128, spread=spread)


@each_target
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("output", [(0.25, -128), (0.25, 127), None])
@pytest.mark.parametrize("attributes", [{}, {"q_min": -7, "q_max": 90}, HARDSWISH])
@pytest.mark.parametrize("channels", [32, 21])
def test_epilogues(target, residual, output, attributes: dict[str, Any], channels, always):
    if output is None:
        attributes = {"activation": {"kind": "clamp", "min": -3.1, "max": 55.5} if attributes else None}
    run(target, 17, channels, 40, residual=residual, output=output, **attributes)


@each_target
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("pixels", "channels", "depth"), [(196, 96, 384), (49, 960, 160), (784, 24, 72)])
def test_layers_of_networks_take_pairs(target, threads, pixels, channels, depth):
    run(target, pixels, channels, depth, threads, spread=30.0)


@each_target
def test_weights_without_partners_are_multiplied_as_int16(target):
    run(target, 49, 64, 64, pairs=False, spread=300.0)


@each_target
@pytest.mark.parametrize("x", [-128, 127])
@pytest.mark.parametrize("weight", [-127, -64, 64, 127])
@pytest.mark.parametrize("x_zero", [-128, 127])
def test_extreme_values(target, x, weight, x_zero, always):
    arrays, quantization = layer(np.random.default_rng(0), (7, 600), (17, 600), x_zero, (x, weight))
    graph = one_node(
        "linear", arrays, {}, constants=("weight", "bias", "multiplier"), quantization=quantization, output=(0.25, -7)
    )
    plan = check(graph, {"x": arrays["x"]}, target)
    assert plan.steps[-1].kernel.startswith("s8_pairs")


@each_target
@pytest.mark.parametrize(("first", "second"), [(127, 1), (1, 127), (100, 28), (127, -127), (-127, -1), (64, 64)])
def test_pairs_at_the_edge_of_int16(target, first, second, always):
    """Weights of every pair add up to +-128 at most, and pixels are the greatest and the least that there are."""
    rng = np.random.default_rng(1)
    arrays, quantization = layer(rng, (12, 96), (20, 96))
    arrays["x"] = rng.choice(np.array([-128, 127], np.int8), (12, 96))
    arrays["weight"][:, ::2], arrays["weight"][:, 1::2] = first, second
    graph = one_node(
        "linear", arrays, {}, constants=("weight", "bias", "multiplier"), quantization=quantization, output=(0.25, -7)
    )
    check(graph, {"x": arrays["x"]}, target)


@each_target
@pytest.mark.parametrize(
    "quad", [(32, 32, 32, 32), (-32, -32, -32, -32), (127, 1, -127, -1), (64, 64, -64, -64), (125, 1, 1, 1)]
)
def test_quads_at_the_edge_of_int16(target, quad, always):
    """Positive weights of every quad add up to 128 at most, negative ones to -128, and pixels are extreme."""
    rng = np.random.default_rng(2)
    arrays, quantization = layer(rng, (12, 96), (20, 96))
    arrays["x"] = rng.choice(np.array([-128, 127], np.int8), (12, 96))
    arrays["x"][:2] = [[-128], [127]]
    arrays["weight"][:] = np.tile(np.array(quad, np.int8), 24)
    graph = one_node(
        "linear", arrays, {}, constants=("weight", "bias", "multiplier"), quantization=quantization, output=(0.25, -7)
    )
    check(graph, {"x": arrays["x"]}, target)


@each_target
@pytest.mark.parametrize("spread", [12.0, 34.0, 38.0, 43.0])
@pytest.mark.parametrize("pixels", [3, 4, 5, 8, 13])
def test_blocks_with_two_one_and_no_unit_of_quads(target, spread, pixels, always):
    run(target, pixels, 40, 264, spread=spread)


@each_target
def test_one_pixel_is_a_product_of_matrix_and_vector(target, always):
    run(target, 1, 40, 64, pairs=False)


def convolution(
    target: InstructionSet, x: tuple[int, ...], weight: tuple[int, ...], threads: int = 1, pairs: bool = True,
    spread: float = 30.0, **attributes: Any,
) -> None:  # fmt: skip
    """Check a convolution, and whether it is computed as this file is about."""
    rng = np.random.default_rng(sum(x) + sum(weight))
    arrays, quantization = layer(rng, x, weight, x_zero=-5)
    arrays["weight"] = trained(rng, weight, spread)
    graph = one_node(
        "conv2d", arrays, attributes, constants=("weight", "bias", "multiplier"), quantization=quantization,
        output=(0.25, 3),
    )  # fmt: skip
    plan = check(graph, {"x": arrays["x"]}, target, threads)
    assert any(step.kernel.startswith("s8_conv_pairs") for step in plan.steps) == pairs


@each_target
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        ((3, 3), {"stride": [2, 2], "padding": [1, 1, 1, 1]}),
        ((3, 3), {"stride": [2, 1], "padding": [0, 1, 2, 0]}),
        ((1, 1), {"stride": [2, 2]}),
        ((5, 1), {"padding": [2, 2, 0, 0], "dilation": [1, 1]}),
        ((3, 3), {"padding": [2, 2, 2, 2], "dilation": [2, 2]}),
        ((2, 4), {}),
    ],
)
def test_convolutions(target, kernel, attributes, threads):
    convolution(target, (2, 13, 11, 24), (40, *kernel, 24), threads, **attributes)


@each_target
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 7, 31, 33, 65])
@pytest.mark.parametrize("channels", [1, 8, 17, 50])
def test_depths_of_taps(target, depth, channels, always):
    convolution(target, (1, 9, 10, depth), (channels, 3, 3, depth), stride=[2, 2], padding=[1, 1, 1, 1])


@each_target
def test_images(target):
    convolution(target, (2, 31, 29, 3), (64, 7, 7, 3), threads=2, stride=[2, 2], padding=[3, 3, 3, 3])


@each_target
def test_more_pixels_than_a_block_has(target):
    convolution(target, (1, 40, 40, 72), (32, 3, 3, 72), threads=2, stride=[2, 2], spread=20.0)


@each_target
def test_convolutions_of_great_weights_are_made_of_int16(target):
    convolution(target, (1, 8, 8, 32), (32, 3, 3, 32), pairs=False, spread=300.0, stride=[2, 2])
    convolution(target, (1, 8, 8, 32), (32, 3, 3, 16), pairs=False, stride=[2, 2], groups=2)

"""int8 Winograd convolution against the oracle, bit for bit."""

from typing import Any

import numpy as np
import pytest

from edgenet.kernels.isa import INSTRUCTION_SETS, InstructionSet
from edgenet.kernels.table_int8 import group_depth, has_winograd
from edgenet.prepare.lower_int8_winograd import pack
from edgenet.prepare.prepare import prepare
from tests.kernels.harness import check
from tests.kernels.int8_layers import HARDSWISH, each_target, layer, run
from tests.ops.builder import one_node

PADDED = [1, 1, 1, 1]


def least(target: InstructionSet) -> int:
    """The fewest channels for which the algorithm serves."""
    return 32 if group_depth(target) == 2 else 64


def convolution(target: InstructionSet, image: tuple[int, int, int], depth: int, filters: int, **settings: Any) -> None:
    """Check one layer, and that it is computed as this file is about.

    `depth` and `filters` are counted from the fewest on; `image`: batch, height, width.
    """
    settings.setdefault("padding", PADDED)
    depth, filters = least(target) + depth, least(target) + filters
    plan = run(target, (*image, depth), (filters, 3, 3, depth), "conv2d", **settings)
    assert any("winograd" in step.kernel for step in plan.steps) == has_winograd(target)


def one_layer(arrays: dict[str, np.ndarray], quantization: dict[str, tuple[float, int]]) -> Any:
    """A graph of one convolution."""
    constants = ("weight", "bias", "multiplier")
    attributes = {"padding": PADDED}
    return one_node("conv2d", arrays, attributes, constants=constants, quantization=quantization, output=(0.25, 3))


@each_target
@pytest.mark.parametrize("pads", [PADDED, [0, 2, 2, 0], [3, 1, 0, 5]])
@pytest.mark.parametrize("size", [(22, 22), (23, 25), (15, 44)])
def test_images(target, size, pads):
    convolution(target, (3, *size), 0, 0, padding=pads, x_zero=-9)


@each_target
@pytest.mark.parametrize("pads", [PADDED, [0, 2, 2, 0]])
@pytest.mark.parametrize("size", [(7, 7), (6, 13), (10, 9)])
def test_small_images(target, size, pads):
    """F(2x2), where products are of int16 anyway."""
    plan = run(target, (2, *size, 36), (45, 3, 3, 36), "conv2d", padding=pads, x_zero=-9, residual=True, threads=2)
    assert any("winograd2" in step.kernel for step in plan.steps) == (group_depth(target) == 2)


@each_target
@pytest.mark.parametrize(("depth", "filters"), [(0, 1), (2, 8), (16, 16), (22, 38), (36, 97), (100, 0)])
def test_channels(target, depth, filters):
    convolution(target, (1, 20, 21), depth, filters, residual=True, x_zero=-128)


@each_target
@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("image", [(20, 20, 128), (41, 37, 32)])
def test_threads(target, threads, image):
    """Few tiles, whose panels are divided, and more than a block has."""
    convolution(target, (1, *image[:2]), image[2], 64, threads=threads)


@each_target
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("output", [(0.25, -7), (0.25, -128), None])
@pytest.mark.parametrize("attributes", [{}, {"q_min": -7, "q_max": 90}, HARDSWISH])
def test_epilogues(target, residual, output, attributes: dict[str, Any]):
    if output is None:
        clamp: Any = {"kind": "clamp", "min": -3.1, "max": 55.5} if attributes else None
        attributes = {"activation": clamp}
    convolution(target, (1, 21, 20), 0, 13, residual=residual, output=output, **attributes)


@each_target
@pytest.mark.parametrize("x", [-128, 127])
@pytest.mark.parametrize("weight", [-127, 127])
@pytest.mark.parametrize("x_zero", [-128, 127])
def test_extreme_values(target, x, weight, x_zero):
    convolution(target, (1, 20, 20), 40, 0, fill=(x, weight), x_zero=x_zero)


@each_target
def test_the_largest_operands(target):
    """Windows and filters whose transforms are as large as any can be, and sums that wrap around int32."""
    arrays, quantization = layer(np.random.default_rng(0), (1, 24, 24, 64), (70, 3, 3, 64))
    sign = np.resize([1, 1, -1, 1, 1, 1], 24)
    arrays["x"][...] = np.where(np.outer(sign, sign) > 0, 127, -128)[None, :, :, None]
    arrays["weight"][...] = np.where(np.arange(70) % 2, 127, -127).reshape(-1, 1, 1, 1)
    check(one_layer(arrays, quantization), {"x": arrays["x"]}, target)


@each_target
def test_where_it_does_not_serve(target):
    """Where products are to be direct, for the least memory, or where a sum could be too large for the last shift."""
    arrays, quantization = layer(np.random.default_rng(0), (1, 20, 20, 240), (64, 3, 3, 240))
    shapes = {"x": arrays["x"].shape}
    graph = one_layer(arrays, quantization)
    assert any("winograd" in step.kernel for step in prepare(graph, shapes, target, 1).steps) == has_winograd(target)
    plans = [prepare(graph, shapes, target, 1, winograd=False), prepare(graph, shapes, target, 1, memory="low")]
    arrays["weight"][7] = 127  # 9 * 240 * 127 * 128 is above 2 ** 25
    plans.append(check(one_layer(arrays, quantization), {"x": arrays["x"]}, target))
    assert not any("winograd" in step.kernel for plan in plans for step in plan.steps)


@pytest.mark.parametrize("pixels", [(12, 12), (19, 21)])
def test_products_of_bytes_are_direct_on_small_images(pixels):
    """Where a product takes bytes, the transformed weights cost more time than few pixels save."""
    arrays, quantization = layer(np.random.default_rng(0), (1, *pixels, 64), (64, 3, 3, 64))
    graph = one_layer(arrays, quantization)
    for target in INSTRUCTION_SETS.values():
        plan = prepare(graph, {"x": arrays["x"].shape}, target, 1)
        assert any("winograd" in step.kernel for step in plan.steps) == (group_depth(target) == 2)


_INPUT = {
    4: ["4 0 -5 0 1 0", "0 -4 -4 1 1 0", "0 4 -4 -1 1 0", "0 -2 -1 2 1 0", "0 2 -1 -2 1 0", "0 4 0 -5 0 1"],
    2: ["1 0 -1 0", "0 1 1 0", "0 -1 1 0", "0 -1 0 1"],
}
_OUTPUT = {
    4: ["1 -4 -4 1 1 0", "0 -2 2 1 -1 0", "0 -1 -1 1 1 0", "0 -1 1 2 -2 1"],
    2: ["1 1 1 0", "0 1 -1 1"],
}
_FACTORS = {4: [24, 12, 6, 6], 2: [2, 2]}


@pytest.mark.parametrize("outputs", [4, 2])
def test_packed_weights(outputs):
    """Their products with transformed windows, transformed back, are the convolution's: in plain integers."""
    rng, window = np.random.default_rng(3), outputs + 2
    weight = rng.integers(-127, 128, (5, 3, 3, 4)).astype(np.int8)
    bias, multiplier = rng.integers(-9, 9, 5).astype(np.int32), rng.random(5).astype(np.float32)
    panels = pack(weight, bias, multiplier, 8, outputs)
    assert panels.shape == (1, 8 * (8 + window**2 * 4 * 2))
    assert panels[0, :32].view(np.int32).tolist() == [*bias, 0, 0, 0]
    assert (panels[0, 32:64].view(np.float32)[:5] == multiplier).all()
    u = panels[0, 64:].view(np.int16).reshape(-1, 2, 8, 2).swapaxes(2, 3).reshape(window, window, 4, 8)[..., :5]
    d = rng.integers(0, 256, (window, window, 4))
    b, a = (np.array([row.split() for row in rows[outputs]], int) for rows in (_INPUT, _OUTPUT))
    m = np.einsum("abkn,abk->abn", u.astype(np.int64), np.einsum("ai,bj,ijk->abk", b, b, d))
    y = np.einsum("ia,jb,abn->ijn", a, a, m) / np.outer(_FACTORS[outputs], _FACTORS[outputs])[..., None]
    expected = [
        [np.einsum("okjc,kjc->o", weight.astype(int), d[i : i + 3, j : j + 3]) for j in range(outputs)]
        for i in range(outputs)
    ]
    assert (y == np.array(expected)).all()

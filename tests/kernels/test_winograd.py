"""Winograd convolution against the oracle and against the direct kernels."""

from typing import Any

import numpy as np
import pytest

from edgenet import reference
from edgenet.dtypes import BATCH
from edgenet.graph import Graph, Node, Tensor
from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table_float import image_width, winograd_kernel
from edgenet.ops import infer_shapes
from edgenet.prepare.prepare import prepare
from tests.kernels.harness import FLOAT_TARGETS, execute
from tests.ops.builder import one_node

TOLERANCE = 2e-5
"""Relative to the largest output: the transforms amplify float32 rounding (Barabasz et al., 2020)."""


@pytest.mark.parametrize("target", FLOAT_TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize(
    ("tile", "size", "pads", "depth", "filters", "residual"),
    [
        ((4, 1), (14, 14), [1, 1, 1, 1], 32, 40, True),
        ((4, 1), (15, 13), [1, 1, 1, 1], 37, 33, False),
        ((4, 1), (16, 19), [0, 0, 0, 0], 48, 64, True),
        ((4, 1), (12, 12), [0, 2, 2, 0], 33, 32, False),
        ((4, 1), (15, 15), [1, 1, 1, 1], 33, 32, False),
        ((2, 1), (7, 7), [1, 1, 1, 1], 32, 40, True),
        ((2, 1), (9, 12), [0, 0, 0, 0], 37, 33, False),
        ((2, 1), (4, 9), [1, 1, 1, 1], 48, 32, True),
        ((2, 2), (17, 20), [1, 1, 1, 1], 160, 168, True),
        ((2, 2), (24, 19), [0, 1, 0, 1], 165, 160, False),
        ((2, 2), (19, 22), [0, 0, 2, 1], 161, 163, True),
    ],
)
def test_winograd(target, tile, size, pads, depth, filters, residual):
    rng = np.random.default_rng(depth)
    arrays = {
        "x": rng.standard_normal((2, *size, depth), dtype=np.float32),
        "weight": rng.standard_normal((filters, 3, 3, depth), dtype=np.float32),
        "bias": rng.standard_normal(filters, dtype=np.float32),
    }
    attributes = {"padding": pads, "stride": [tile[1]] * 2, "activation": {"kind": "clamp", "min": -30.0, "max": None}}
    graph = one_node("conv2d", arrays, attributes, constants=("weight", "bias"))
    if residual:
        arrays["residual"] = rng.standard_normal(graph.tensors["y"].shape, dtype=np.float32)
        graph = one_node("conv2d", arrays, attributes, constants=("weight", "bias"))
    inputs = {name: arrays[name] for name in graph.inputs}
    expected = reference.run(graph, inputs)["y"]
    found, plan = execute(graph, inputs, target)
    first, products, last = (step.kernel for step in plan.steps)
    assert (first, last) == (winograd_kernel("input", *tile), winograd_kernel("output", *tile))
    assert products.startswith("f32_winograd_")
    assert np.abs(found["y"] - expected).max() < TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("target", FLOAT_TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize(
    ("size", "pads", "depth", "activation"),
    [
        ((32, 32), [1, 1, 1, 1], 3, None),
        ((21, 29), [1, 1, 1, 1], 4, {"kind": "hardswish"}),
        ((30, 31), [0, 2, 2, 1], 3, {"kind": "clamp", "min": -3.0, "max": 5.0}),
        ((18, 30), [0, 0, 0, 0], 4, {"kind": "clamp", "min": 0.0, "max": None}),
    ],
)
def test_images(target, planes, size, pads, depth, activation):
    """Whole tiles, and such that reach below the image and on its right."""
    rng = np.random.default_rng(depth)
    filters = 2 * image_width(target)
    shape = (2, depth, *size) if planes else (2, *size, depth)
    weight = rng.standard_normal((filters, 3, 3, depth), dtype=np.float32)
    graph = Graph({"x": Tensor("x", (BATCH, *shape[1:]))}, inputs=["x"], outputs=["y"])
    if planes:
        graph.nodes.append(Node("permute", "image", {"x": "x"}, "image", {"order": [0, 2, 3, 1]}))
    inputs = {
        "x": "image" if planes else "x",
        "weight": graph.add_constant("weight", weight),
        "bias": graph.add_constant("bias", rng.standard_normal(filters, dtype=np.float32)),
    }
    graph.nodes.append(Node("conv2d", "y", inputs, "y", {"padding": pads, "activation": activation}))
    graph.tensors |= {name: Tensor(name, ()) for name in ("image", "y") if planes or name == "y"}
    graph.tensors.update(infer_shapes(graph))
    x = {"x": rng.standard_normal(shape, dtype=np.float32)}
    expected = reference.run(graph, x)["y"]
    found, plan = execute(graph, x, target)
    pad = f"f32_pad_planes{depth}" if planes else "f32_pad_image"
    assert [step.kernel for step in plan.steps] == [pad, f"f32_winograd_image{depth}_4x{image_width(target)}"]
    assert np.abs(found["y"] - expected).max() < TOLERANCE * np.abs(expected).max()


def test_which_images_it_serves():
    """Not such that waste tiles, with a part of a panel, or with large outputs, which may be computed by bands."""

    def kernel(target: InstructionSet, side: int, depth: int, filters: int, **options: Any) -> str:
        arrays = {
            "x": np.zeros((1, side, side, depth), np.float32),
            "weight": np.zeros((filters, 3, 3, depth), np.float32),
        }
        graph = one_node("conv2d", arrays, {"padding": [1, 1, 1, 1]}, constants=("weight",))
        return prepare(graph, {"x": arrays["x"].shape}, target, 1, **options).steps[-1].kernel

    for target in FLOAT_TARGETS:
        whole = image_width(target)
        for options in ({}, {"memory": "low"}):
            assert "winograd_image" in kernel(target, 32, 3, whole, **options)
        direct = [
            kernel(target, 32, 2, whole),
            kernel(target, 33, 3, whole),
            kernel(target, 32, 3, whole + target.lanes),
            kernel(target, 512, 3, whole),
            kernel(target, 32, 3, whole, winograd=False),
        ]
        assert not any("winograd" in name for name in direct)
        assert ("winograd" in kernel(target, 112, 3, whole)) == (target.lanes <= 8)


def test_where_stride_2_serves():
    """Not for few channels, nor for small or large images; a plan for little memory computes the same."""

    def kernels(side: int, channels: int, target: InstructionSet, **options: Any) -> list[str]:
        arrays = {
            "x": np.zeros((1, side, side, channels), np.float32),
            "weight": np.zeros((channels, 3, 3, channels), np.float32),
        }
        graph = one_node("conv2d", arrays, {"padding": [1, 1, 1, 1], "stride": [2, 2]}, constants=("weight",))
        plan = prepare(graph, {"x": arrays["x"].shape}, target, 1, **options)
        return [step.kernel for step in plan.steps]

    for target in FLOAT_TARGETS:
        enough = 10 * target.lanes
        for options in ({}, {"memory": "low"}):
            assert winograd_kernel("input", 2, 2) in kernels(18, enough, target, **options)
        for other in (kernels(16, enough, target), kernels(18, enough - 4, target), kernels(640, enough, target)):
            assert not any("winograd" in name for name in other)
        assert not any("winograd" in name for name in kernels(18, enough, target, winograd=False))

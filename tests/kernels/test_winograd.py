"""Winograd convolution against the oracle and against the direct kernels."""

import numpy as np
import pytest

from edgenet import reference
from tests.kernels.harness import FLOAT_TARGETS, execute
from tests.ops.builder import one_node

TOLERANCE = 2e-5
"""Relative to the largest output: the transforms amplify float32 rounding (Barabasz et al., 2020)."""


@pytest.mark.parametrize("target", FLOAT_TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize(
    ("size", "pads", "depth", "filters", "residual"),
    [
        ((14, 14), [1, 1, 1, 1], 32, 40, True),
        ((15, 13), [1, 1, 1, 1], 37, 33, False),
        ((16, 19), [0, 0, 0, 0], 48, 64, True),
        ((12, 12), [0, 2, 2, 0], 33, 32, False),
    ],
)
def test_winograd(target, size, pads, depth, filters, residual):
    rng = np.random.default_rng(depth)
    arrays = {
        "x": rng.standard_normal((2, *size, depth), dtype=np.float32),
        "weight": rng.standard_normal((filters, 3, 3, depth), dtype=np.float32),
        "bias": rng.standard_normal(filters, dtype=np.float32),
    }
    attributes = {"padding": pads, "activation": {"kind": "clamp", "min": -30.0, "max": None}}
    graph = one_node("conv2d", arrays, attributes, constants=("weight", "bias"))
    if residual:
        arrays["residual"] = rng.standard_normal(graph.tensors["y"].shape, dtype=np.float32)
        graph = one_node("conv2d", arrays, attributes, constants=("weight", "bias"))
    inputs = {name: arrays[name] for name in graph.inputs}
    expected = reference.run(graph, inputs)["y"]
    found, plan = execute(graph, inputs, target)
    assert [step.kernel[:12] for step in plan.steps] == ["f32_winograd"] * 3
    assert np.abs(found["y"] - expected).max() < TOLERANCE * np.abs(expected).max()

"""Kernels that move elements, against the oracle: every layout, odd sizes, both element types."""

import numpy as np
import pytest

from tests.kernels.harness import TARGETS, check
from tests.ops.builder import one_node

target_grid = pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
dtype_grid = pytest.mark.parametrize("dtype", ["float32", "int8"])


def sample(shape, dtype):
    rng = np.random.default_rng(sum(shape))
    if dtype == "int8":
        return rng.integers(-128, 128, shape).astype(np.int8)
    return rng.standard_normal(shape, dtype=np.float32)


def run(operation, shape, dtype, target, attributes):
    q = (0.1, -3)
    x = sample(shape, dtype)
    options = {"quantization": {"x": q}, "output": q} if dtype == "int8" else {}
    return check(one_node(operation, {"x": x}, attributes, **options), {"x": x}, target)


@target_grid
@dtype_grid
@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((1, 3, 33, 31), [0, 2, 3, 1]),
        ((2, 3, 64, 50), [0, 2, 3, 1]),
        ((2, 1, 7, 5), [0, 2, 3, 1]),
        ((1, 4, 9, 7), [0, 2, 3, 1]),
        ((3, 2, 5, 8), [0, 2, 3, 1]),
        ((2, 37, 6, 7), [0, 2, 3, 1]),
        ((2, 7, 6, 37), [0, 3, 1, 2]),
        ((1, 16, 16, 48), [0, 3, 1, 2]),
        ((2, 5, 19), [0, 2, 1]),
        ((2, 5, 6, 7), [0, 2, 1, 3]),
        ((2, 3, 4, 5, 6), [0, 3, 1, 4, 2]),
        ((2, 3, 4, 5, 6), [0, 4, 3, 2, 1]),
        ((2, 3, 4, 5, 6), [0, 3, 2, 1, 4]),
        ((4, 9), [0, 1]),
    ],
)
def test_permute(target, dtype, shape, order):
    run("permute", shape, dtype, target, {"order": order})


@target_grid
@dtype_grid
@pytest.mark.parametrize(("channels", "groups"), [(4, 2), (116, 2), (30, 3), (64, 4), (48, 8), (35, 5), (9, 9)])
def test_channel_shuffle(target, dtype, channels, groups):
    run("channel_shuffle", (2, 3, 5, channels), dtype, target, {"groups": groups})


@target_grid
@dtype_grid
@pytest.mark.parametrize(("channels", "factor"), [(4, 2), (36, 3), (64, 2), (16, 4), (5, 1)])
def test_pixel_shuffle(target, dtype, channels, factor):
    run("pixel_shuffle", (2, 3, 5, channels), dtype, target, {"factor": factor})


@target_grid
@dtype_grid
@pytest.mark.parametrize(
    ("axis", "start", "stop", "step"), [(1, 1, None, 1), (2, 0, -1, 2), (3, 5, 23, 1), (3, -7, None, 3), (1, 2, 3, 1)]
)
def test_slice(target, dtype, axis, start, stop, step):
    run("slice", (2, 4, 5, 37), dtype, target, {"axis": axis, "start": start, "stop": stop, "step": step})


@target_grid
@dtype_grid
@pytest.mark.parametrize(
    ("shape", "pads"),
    [
        ((2, 5, 6, 7), [0, 0, 1, 1, 1, 1, 0, 0]),
        ((2, 5, 6, 7), [0, 0, 0, 1, 2, 0, 0, 0]),
        ((1, 3, 4, 5), [0, 0, 1, 0, 0, 1, 3, 2]),
        ((2, 3, 4, 5), [0, 0, 0, 0, 0, 0, 0, 9]),
        ((2, 3, 4, 5), [0, 0, 0, 0, 0, 0, 0, 0]),
        ((3, 7), [0, 0, 2, 1]),
        ((2, 3, 2, 4, 5), [0, 0, 1, 0, 0, 0, 0, 2, 1, 1]),
    ],
)
def test_pad(target, dtype, shape, pads):
    run("pad", shape, dtype, target, {"pads": pads, "value": -1.5, "quantized_value": -3})


@target_grid
@dtype_grid
@pytest.mark.parametrize(("shape", "to"), [((2, 3, 4, 5), [0, -1]), ((1, 70, 90), [0, 90, 70]), ((1, 1), [0, 1, 1])])
def test_reshape(target, dtype, shape, to):
    run("reshape", shape, dtype, target, {"shape": to})
    run("flatten", shape, dtype, target, {"start_axis": 1})

"""Kernels that move elements, against the oracle: every layout, odd sizes, both element types."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        ((2, 3, 2, 5, 2, 4), [0, 4, 2, 5, 3, 1]),
        ((2, 4, 3, 2, 3, 5), [0, 2, 4, 1, 3, 5]),
        ((2, 2, 3, 2, 3, 2, 3, 2), [0, 7, 2, 5, 3, 1, 6, 4]),
        ((2, 2, 3, 2, 3, 2, 3, 2), [0, 2, 4, 6, 1, 3, 5, 7]),
    ],
)
def test_permute(target, dtype, shape, order):
    run("permute", shape, dtype, target, {"order": order})


@dtype_grid
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_permute_any_order(dtype, data):
    rank = data.draw(st.integers(2, 8))
    shape = tuple(data.draw(st.integers(1, 20 if rank < 4 else 6 if rank < 6 else 3)) for _ in range(rank))
    order = [0, *data.draw(st.permutations(range(1, rank)))]
    for target in TARGETS:
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


@target_grid
@dtype_grid
def test_constants_are_operands_too(target, dtype):
    q = (0.1, -3)
    arrays = {"x0": sample((2, 5, 7), dtype), "x1": sample((2, 5, 30), dtype)}
    options = {"quantization": {"x0": q, "x1": q}, "output": q} if dtype == "int8" else {}
    attributes = {"axis": 2, "multipliers": [1.0, 1.0]}
    check(one_node("concat", arrays, attributes, constants=("x1",), **options), {"x0": arrays["x0"]}, target)
    options = {"quantization": {"x": q}, "output": q} if dtype == "int8" else {}
    for operation, attributes in (
        ("slice", {"axis": 2, "start": 1, "step": 3}),
        ("reshape", {"shape": [0, -1]}),
        ("permute", {"order": [0, 2, 1]}),
    ):
        check(one_node(operation, {"x": arrays["x1"]}, attributes, constants=("x",), **options), {}, target)

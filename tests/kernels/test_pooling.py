"""Pooling kernels against the oracle: windows, paddings, dilations, ceil mode, counts, channels of every remainder."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet import reference
from edgenet.ops.base import OperationError
from tests.kernels.harness import TARGETS, check, execute
from tests.ops.builder import one_node

target_grid = pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
dtype_grid = pytest.mark.parametrize("dtype", ["float32", "int8"])
AVERAGES = {"multiplier": 1.7, "q_min": -110, "q_max": 100}


def run(operation, shape, dtype, targets, attributes, threads=1):
    rng = np.random.default_rng(sum(shape))
    x = rng.standard_normal(shape, dtype=np.float32)
    options = {}
    if dtype == "int8":
        x = rng.integers(-128, 128, shape).astype(np.int8)
        moved = operation == "max_pool2d"
        options = {"quantization": {"x": (0.2, -6)}, "output": (0.2, -6) if moved else (0.1, 9)}
        attributes = attributes if moved else {**attributes, **AVERAGES}
    graph = one_node(operation, {"x": x}, attributes, **options)
    return [check(graph, {"x": x}, target, threads) for target in targets]


@target_grid
@dtype_grid
@pytest.mark.parametrize("channels", [1, 3, 16, 24, 67, 96, 130])
def test_max_pool_channels(target, dtype, channels):
    run(
        "max_pool2d",
        (2, 7, 9, channels),
        dtype,
        [target],
        {"kernel": [3, 3], "stride": [2, 2], "padding": [1, 1, 1, 1]},
    )


@dtype_grid
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_windows(dtype, data):
    def sizes(low, high):
        return [data.draw(st.integers(low, high)), data.draw(st.integers(low, high))]

    kernel = sizes(1, 4)
    padding = [data.draw(st.integers(0, kernel[i // 2] // 2)) for i in range(4)]
    common = {"kernel": kernel, "stride": sizes(1, 3), "padding": padding, "ceil_mode": data.draw(st.booleans())}
    shape = (1, *sizes(3, 9), data.draw(st.sampled_from([1, 5, 20])))
    include, divisor = data.draw(st.booleans()), data.draw(st.sampled_from([None, 3]))
    try:  # not every window fits every image
        run("avg_pool2d", shape, dtype, TARGETS, {**common, "count_include_pad": include, "divisor": divisor})
        run("max_pool2d", shape, dtype, TARGETS, {**common, "dilation": sizes(1, 2)})
    except OperationError:
        return


@target_grid
@dtype_grid
@pytest.mark.parametrize("channels", [1, 5, 64, 100, 300])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (7, 7), (9, 1)])
def test_adaptive(target, dtype, channels, size):
    run("adaptive_avg_pool2d", (2, 7, 8, channels), dtype, [target], {"output_size": list(size)})


@target_grid
@dtype_grid
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((2, 7, 7, 100), [1, 2]),
        ((1, 7, 7, 1280), [2, 1]),
        ((2, 5, 1, 20), [1, 2]),
        ((2, 5, 6, 20), [3]),
        ((2, 5, 6, 20), [1, 3]),
        ((2, 5, 6, 20), [1]),
        ((2, 5, 6, 20), [2]),
        ((2, 5, 6, 20), [1, 2, 3]),
        ((3, 37), [1]),
        ((3, 1), [1]),
        ((2, 1, 1, 9), [1, 2]),
        ((2, 3, 4, 5, 6), [1, 4]),
    ],
)
def test_mean(target, dtype, shape, axes):
    run("mean", shape, dtype, [target], {"axes": axes, "keepdims": len(axes) % 2 == 1})


@target_grid
@dtype_grid
@pytest.mark.parametrize("operation", ["mean", "adaptive_avg_pool2d", "avg_pool2d"])
@pytest.mark.parametrize(
    ("shape", "threads", "parts"),
    [
        ((1, 28, 28, 72), 1, 1), ((1, 28, 28, 72), 2, 2), ((1, 7, 7, 960), 4, 4), ((1, 14, 13, 125), 3, 3),
        ((2, 24, 28, 67), 4, 2), ((3, 28, 24, 128), 2, 1), ((1, 3, 100, 70), 4, 0), ((1, 7, 7, 64), 2, 0),
    ],
)  # fmt: skip
def test_means_of_large_images_are_made_in_parts(target, dtype, operation, shape, threads, parts):
    """`parts` is 0 where the rows are fewer than the threads, or the image is small."""
    attributes = {
        "mean": {"axes": [1, 2]},
        "adaptive_avg_pool2d": {"output_size": [1, 1]},
        "avg_pool2d": {"kernel": list(shape[1:3]), "stride": [1, 1], "divisor": 999},
    }[operation]
    (plan,) = run(operation, shape, dtype, [target], attributes, threads)
    prefix = "s8" if dtype == "int8" else "f32"
    if parts:
        assert [step.kernel for step in plan.steps] == [f"{prefix}_sum_parts", f"{prefix}_mean_of_parts"]
        assert plan.steps[0].units == shape[0] * parts
    else:
        assert [step.kernel for step in plan.steps] == [f"{prefix}_mean"]


@target_grid
def test_max_pool_keeps_nan(target):
    x = np.arange(2 * 4 * 20, dtype=np.float32).reshape(1, 2, 4, 20)
    x[0, 0, 0], x[0, 1, 3], x[0, 0, 2, 3] = np.nan, np.nan, -np.inf
    graph = one_node("max_pool2d", {"x": x}, {"kernel": [2, 2], "stride": [2, 2]})
    expected = reference.run(graph, {"x": x})["y"]
    assert np.isnan(expected).sum() == 40
    np.testing.assert_array_equal(execute(graph, {"x": x}, target)[0]["y"], expected)


@target_grid
def test_mean_of_many_equal_values_is_accurate(target):
    x = np.full((1, 112, 112, 20), 0.1, np.float32)
    check(one_node("mean", {"x": x}, {"axes": [1, 2]}), {"x": x}, target)

"""float32 matrix kernels against the oracle, below, at, above and between tile sizes."""

import numpy as np
import pytest

from edgenet.kernels.isa import InstructionSet
from tests.kernels.harness import FLOAT_TARGETS, check, execute
from tests.ops.builder import one_node


def linear(pixels, depth, channels, activation):
    """A linear layer with residual, of random values, and its inputs."""
    rng = np.random.default_rng(pixels * 100 + channels)
    arrays = {
        "x": rng.standard_normal((pixels, depth), dtype=np.float32),
        "weight": rng.standard_normal((channels, depth), dtype=np.float32),
        "bias": rng.standard_normal(channels, dtype=np.float32),
        "residual": rng.standard_normal((pixels, channels), dtype=np.float32),
    }
    graph = one_node("linear", arrays, {"activation": activation}, constants=("weight", "bias"))
    return graph, {name: arrays[name] for name in graph.inputs}


@pytest.mark.parametrize("target", FLOAT_TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("pixels", [1, 5, 6, 7, 9, 13, 49])
@pytest.mark.parametrize("channels", [1, 7, 8, 15, 16, 17, 24, 33, 40, 64, 71, 72])
def test_linear(target, pixels, channels):
    check(*linear(pixels, 19, channels, {"kind": "clamp", "min": -1.0, "max": 3.0}), target)


@pytest.mark.parametrize("target", FLOAT_TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("pixels", [11, 12, 13, 25, 41, 100])
@pytest.mark.parametrize("channels", [5, 8, 16, 24, 72, 80])
def test_last_channels_of_few_vectors(monkeypatch, target, pixels, channels):
    """Narrow panels, or whole vectors on CPUs where the former save no time: the same bits."""
    graph, inputs = linear(pixels, 37, channels, {"kind": "hardswish"})
    outputs, sizes = [], []
    for wide in (False, True):
        monkeypatch.setattr(InstructionSet, "has_wide_pipelines", wide)
        check(graph, inputs, target)
        found, plan = execute(graph, inputs, target)
        outputs.append(next(iter(found.values())))
        sizes.append(plan.steps[-1].slots["weights"].array.size)
    np.testing.assert_array_equal(*outputs)
    narrow = target.narrow_lanes < target.lanes and 0 < channels % target.lanes <= target.narrow_lanes
    assert (sizes[0] < sizes[1]) == narrow


@pytest.mark.parametrize(("tall", "rows"), [(12, 6), (16, 8), (8, 4)])
def test_tall_tiles_leave_what_usual_ones_make_up(tall, rows):
    pytest.importorskip("numba", reason="kernels as Python, which a bundle runs without")
    from edgenet.kernels.gemm_f32 import left_by_tall_tiles

    function = getattr(left_by_tall_tiles, "py_func", left_by_tall_tiles)
    for pixels in range(200):
        left = function(pixels, tall, rows)
        assert 0 <= left <= pixels
        assert (pixels - left) % tall == 0
        made_up = {rows * a + (rows - 1) * b for a in range(40) for b in range(rows)}
        assert left in made_up or left > pixels - tall
        assert not any(less in made_up for less in range(pixels % tall, left, tall))


@pytest.mark.parametrize("target", FLOAT_TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", [None, {"kind": "clamp", "min": -1.0, "max": 3.0}, {"kind": "hardswish"}])
@pytest.mark.parametrize(("channels", "depth"), [(1, 1), (64, 7), (300, 75), (1000, 130)])
def test_one_pixel(target, threads, residual, activation, channels, depth):
    """Any number of threads gives the bits of the same pixel among others, which the oracle judges."""
    rng = np.random.default_rng(channels)
    arrays = {
        "x": rng.standard_normal((1, depth), dtype=np.float32),
        "weight": rng.standard_normal((channels, depth), dtype=np.float32),
        "bias": rng.standard_normal(channels, dtype=np.float32),
    }
    if residual:
        arrays["residual"] = rng.standard_normal((1, channels), dtype=np.float32)
    outputs = []
    for pixels in (1, 2):
        both = arrays | {name: arrays[name].repeat(pixels, 0) for name in ("x", "residual") if name in arrays}
        graph = one_node("linear", both, {"activation": activation}, constants=("weight", "bias"))
        inputs = {name: both[name] for name in graph.inputs}
        check(graph, inputs, target)
        found, plan = execute(graph, inputs, target, threads)
        assert plan.steps[-1].kernel.startswith("f32_gemv" if pixels == 1 else "f32_pw")
        outputs.append(next(iter(found.values()))[0])
    np.testing.assert_array_equal(*outputs)

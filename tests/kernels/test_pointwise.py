"""float32 matrix kernels against the oracle, below, at, above and between tile sizes."""

import numpy as np
import pytest

from tests.kernels.harness import FLOAT_TARGETS, check
from tests.ops.builder import one_node


@pytest.mark.parametrize("target", FLOAT_TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("pixels", [1, 5, 6, 7, 9, 13, 49])
@pytest.mark.parametrize("channels", [1, 7, 8, 15, 16, 17, 24, 33, 40, 64, 71, 72])
def test_linear(target, pixels, channels):
    rng = np.random.default_rng(pixels * 100 + channels)
    arrays = {
        "x": rng.standard_normal((pixels, 19), dtype=np.float32),
        "weight": rng.standard_normal((channels, 19), dtype=np.float32),
        "bias": rng.standard_normal(channels, dtype=np.float32),
        "residual": rng.standard_normal((pixels, channels), dtype=np.float32),
    }
    attributes = {"activation": {"kind": "clamp", "min": -1.0, "max": 3.0}}
    graph = one_node("linear", arrays, attributes, constants=("weight", "bias"))
    check(graph, {name: arrays[name] for name in graph.inputs}, target)

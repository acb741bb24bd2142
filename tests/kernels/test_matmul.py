"""float32 products of two activations against the oracle, below, at, above and between tile sizes."""

import numpy as np
import pytest

from tests.kernels.harness import FLOAT_TARGETS, check
from tests.ops.builder import one_node


@pytest.mark.parametrize("target", FLOAT_TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("rows", [1, 5, 6, 7, 13, 49])
@pytest.mark.parametrize("channels", [1, 7, 8, 16, 17, 33, 64, 71])
def test_matmul(target, rows, channels):
    rng = np.random.default_rng(rows * 100 + channels)
    for before, depth in (((3,), 19), ((2, 4), 1)):
        a = rng.standard_normal((*before, rows, depth), dtype=np.float32)
        b = rng.standard_normal((*before, depth, channels), dtype=np.float32)
        graph = one_node("matmul", {"a": a, "b": b}, {"scale": 0.25})
        for threads in (1, 2):
            check(graph, {"a": a, "b": b}, target, threads)


@pytest.mark.parametrize("target", FLOAT_TARGETS, ids=lambda t: t.name)
def test_large_products_in_many_units(target):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((2, 197, 64), dtype=np.float32)
    b = rng.standard_normal((2, 64, 197), dtype=np.float32)
    check(one_node("matmul", {"a": a, "b": b}, {}), {"a": a, "b": b}, target, 2)


@pytest.mark.parametrize("target", FLOAT_TARGETS, ids=lambda t: t.name)
def test_one_tensor_on_both_sides(target):
    x = np.random.default_rng(0).standard_normal((2, 24, 24), dtype=np.float32)
    graph = one_node("matmul", {"a": x, "b": x}, {})
    graph.nodes[0].inputs["b"] = "a"
    graph.inputs = ["a"]
    check(graph, {"a": x}, target)

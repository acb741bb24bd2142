"""Batches whose activations outgrow the caches run in portions, with the same results."""

from __future__ import annotations

import numpy as np
import pytest

import edgenet
from edgenet.dtypes import BATCH
from edgenet.engine import portions
from edgenet.graph import Graph, Node, Tensor
from edgenet.ops import infer_shapes
from tests.engine.networks import separable


def softmax(shape: tuple[int, ...]) -> Graph:
    graph = Graph()
    graph.tensors["x"] = Tensor("x", shape)
    graph.inputs = ["x"]
    graph.nodes.append(Node("softmax", "y", {"x": "x"}, "y", {"axis": 1}))
    graph.tensors["y"] = Tensor("y", ())
    graph.outputs = ["y"]
    graph.tensors.update(infer_shapes(graph))
    return graph


@pytest.mark.parametrize(("batch", "most", "expected"), [(8, 3, 3), (8, 4, 4), (7, 3, 3), (9, 8, 5), (1, 1, 1)])
def test_portions_differ_by_one_at_most(monkeypatch, batch, most, expected):
    monkeypatch.setattr(portions, "cache_sizes", lambda: {"L3": 4 * most * 100})
    assert portions.portion(batch, 100) == expected


def test_a_sample_larger_than_the_cache_runs_alone(monkeypatch):
    monkeypatch.setattr(portions, "cache_sizes", lambda: {"L3": 1000})
    assert portions.portion(5, 10_000) == 1


def test_only_graphs_that_keep_samples_apart_are_divided():
    assert portions.samplewise(separable())
    assert portions.samplewise(softmax((BATCH, 4)))
    assert not portions.samplewise(softmax((3, 4)))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [2, 5, 8])
def test_same_bits_in_portions(monkeypatch, threads, batch):
    graph = separable()
    x = np.random.default_rng(0).standard_normal((batch, 12, 12, 24), dtype=np.float32)
    whole = edgenet.load(graph, threads).run(x)
    sample = edgenet.load(graph, threads).plan_info()["arena_bytes"]
    monkeypatch.setattr(portions, "cache_sizes", lambda: {"L3": 4 * 3 * sample})
    model = edgenet.load(graph, threads)
    np.testing.assert_array_equal(model.run(x), whole)
    assert batch <= 3 or batch not in {shapes[0][0] for shapes in model._prepared}

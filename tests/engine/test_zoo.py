"""Every network of the zoo: float32 agrees with torch, int8 equals the oracle bit for bit, on one thread and on two.

Computed by bands of rows (memory="low") they give the same bits.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import edgenet
from edgenet import reference
from edgenet.converter import zoo
from edgenet.converter.importer import import_module
from edgenet.converter.passes import optimize
from edgenet.converter.quantize import quantize
from edgenet.graph import Graph
from tests.quantize.plain import PLAIN

RESOLUTION = {"inception_v3": 107, "alexnet": 67, "vgg11": 47, "tiny_separable": 32, "googlenet": 65, "densenet121": 39}
"""A small odd input size that the network takes."""


def size_of(name: str) -> int:
    return RESOLUTION.get(name, 49)


@pytest.fixture(scope="module", params=zoo.names())
def network(request) -> tuple[str, torch.nn.Module, Graph]:
    """Name, module and graph; all tests of a network run one after the other."""
    name = request.param
    torch.manual_seed(0)
    module = zoo.randomize_batchnorm(zoo.build(name), example=torch.randn(2, 3, 96, 96)).eval()
    return name, module, optimize(import_module(module, (torch.randn(1, 3, size_of(name), size_of(name)),)))


def images(name: str, batch: int) -> np.ndarray:
    return np.random.default_rng(batch).standard_normal((batch, 3, size_of(name), size_of(name)), dtype=np.float32)


def test_float32_agrees_with_torch(network):
    name, module, graph = network
    for batch, threads in ((1, 1), (3, 2)):
        x = images(name, batch)
        with torch.no_grad():
            expected = module(torch.from_numpy(x)).numpy()
        model = edgenet.load(graph, threads)
        found = model.run(x)
        error = np.abs(found - expected).max() / np.abs(expected).max()
        assert error < 1e-4, f"batch {batch}, {threads} threads: relative error {error:.2e}"
        np.testing.assert_array_equal(edgenet.load(graph, threads, memory="low").run(x), found)
        assert all(step["vector"] for step in model.plan_info()["steps"])


def test_int8_equals_the_oracle(network):
    name, _, graph = network
    int8 = quantize(graph, [images(name, 2)], options=PLAIN)
    x = images(name, 1)
    expected = reference.run(int8, {int8.inputs[0]: x})[int8.outputs[0]]
    for threads, memory in ((1, "fast"), (2, "fast"), (2, "low")):
        np.testing.assert_array_equal(edgenet.load(int8, threads, memory=memory).run(x), expected)

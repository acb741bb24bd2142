"""Networks of the zoo that differ in kind, with random weights: valid int8 graphs, the same in executor and oracle."""

import numpy as np
import pytest
import torch

from edgenet import reference
from edgenet.converter import zoo
from edgenet.converter.importer import import_module
from edgenet.converter.passes import optimize
from edgenet.converter.quantize import quantize
from edgenet.converter.quantize.executor import Executor
from tests.quantize.networks import sqnr, validate


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "efficientnet_lite0"])
def test_network(name):
    module = zoo.randomize_batchnorm(zoo.build(name), seed=1)
    graph = optimize(import_module(module, (torch.zeros(1, 3, 48, 48),)))
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((2, 3, 48, 48)).astype(np.float32) for _ in range(3)]
    int8 = quantize(graph, arrays[:2])
    validate(int8)
    operations = [node.operation for node in int8.nodes]
    assert operations[:2] == ["permute", "quantize"]
    assert operations.count("quantize") == 1
    assert "dequantize" not in operations
    inputs, key = {graph.inputs[0]: arrays[2]}, graph.outputs[0]
    want, got = reference.run(int8, inputs)[key], Executor(int8).run(inputs)[key]
    assert np.allclose(got, want, rtol=1e-6, atol=1e-6 * np.abs(want).max())
    assert sqnr(reference.run(graph, inputs)[key], got) > 12

"""The trained module, the oracle and the engine give the same bits."""

import numpy as np
import pytest
import torch

from edgenet.converter import convert, prepare_qat
from tests.qat.networks import build, engine, oracle, outputs, train

EXACT = ["tiny_separable", "mobilenet_v2", "mobilenet_v3", "concat", "residual", "excited", "branches", "operands"]
CLOSE = ["islands", "gated"]
"""They end in, or contain, float32 operations that sum in another order."""


@pytest.mark.parametrize("name", EXACT)
def test_module_oracle_and_engine_agree_to_the_bit(name):
    module, x = build(name)
    qat = prepare_qat(module, (x,))
    train(qat, x, steps=2)
    graph = convert(qat)
    assert any(tensor.dtype == "int8" for tensor in graph.tensors.values())
    other = torch.randn_like(x) * 1.5  # beyond the ranges, so that values are clamped, too
    found = outputs(qat, other)
    for want in (oracle(graph, other), engine(graph, other, 1), engine(graph, other, 2)):
        assert len(want) == len(found)
        assert all(np.array_equal(a, b) for a, b in zip(want, found, strict=True))


def test_large_weights_of_a_dead_channel_leave_its_bias_alone():
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 8, 3, 1, 1), torch.nn.Conv2d(8, 8, 3, 1, 1, groups=8)
    module = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), torch.nn.Conv2d(8, 5, 1))
    with torch.no_grad():
        layers[0].bias[2] = -100  # never above zero
        layers[1].weight[2] *= 1e6
        layers[1].bias[2] = 1.3
    x = torch.randn(4, 3, 12, 12)
    qat = prepare_qat(module.eval(), (x,))
    graph = convert(qat)
    found = outputs(qat, x)
    for want in (oracle(graph, x), engine(graph, x, 1)):
        assert all(np.array_equal(a, b) for a, b in zip(want, found, strict=True))
    for each in (graph, convert(module, (x,), "int8", [x])):
        (got,) = engine(each, x, 1)
        assert np.abs(got - module(x).detach().numpy()).max() < 0.1


@pytest.mark.parametrize("name", CLOSE)
def test_float_islands_agree_as_float(name):
    module, x = build(name)
    qat = prepare_qat(module, (x,))
    train(qat, x, steps=2)
    for want, found in zip(oracle(convert(qat), x), outputs(qat, x), strict=True):
        assert np.allclose(want, found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["residual", "excited", "branches"])
def test_training_computes_what_evaluation_does(name):
    module, x = build(name)
    qat = prepare_qat(module, (x,))
    qat.freeze()
    training = qat.train()(x)
    assert (training[0] if isinstance(training, tuple) else training).requires_grad
    training = training if isinstance(training, tuple) else (training,)
    for want, found in zip(training, outputs(qat, x), strict=True):
        assert np.array_equal(want.detach().numpy(), found)


def test_sums_beyond_float32_are_exact():
    """1200 products of the largest values exceed 2**24, where float32 counts in steps of two."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(1200, 4)
    with torch.no_grad():
        layer.weight.copy_(0.5 + 0.01 * torch.rand(4, 1200))
    module = torch.nn.Sequential(layer, torch.nn.ReLU(), torch.nn.Linear(4, 3)).eval()
    x = 1 - 0.01 * torch.rand(8, 1200)
    qat = prepare_qat(module, (x,))
    graph = convert(qat, force=True)  # its outputs hardly differ
    weight = next(array for array in graph.constants.values() if array.shape == (4, 1200))
    assert int(np.abs(weight.astype(np.int64)).sum(1).max()) * 127 > 2**24
    assert np.array_equal(outputs(qat, x)[0], oracle(graph, x)[0])

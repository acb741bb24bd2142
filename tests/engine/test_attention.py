"""Networks with attention and recurrent layers from PyTorch to the engine: precisions, threads, batches, memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgenet
from edgenet import reference
from edgenet.converter import convert
from tests.importer.test_moved import Patches
from tests.importer.test_products import LinearAttention


class Hybrid(nn.Module):
    """Convolutions, attention between the pixels at the same place of each patch, linear attention, a classifier."""

    def __init__(self):
        super().__init__()
        self.patches, self.linear = Patches(16, 2), LinearAttention(16, 2)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = F.silu(self.patches(x))
        return self.head((x + self.linear(x)).mean((2, 3)))


class Reader(nn.Module):
    """Columns of a picture read by a GRU in both directions."""

    def __init__(self):
        super().__init__()
        self.conv, self.gru = nn.Conv2d(3, 8, 3, (8, 1), 1), nn.GRU(8, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        return self.head(self.gru(F.relu(self.conv(x)).squeeze(2).mT)[0])


NETWORKS = {"hybrid": Hybrid, "reader": Reader}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    module = NETWORKS[request.param]().eval()
    return module, torch.randn(3, 3, 8, 12)


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 2}, {"threads": 1, "memory": "low"}], ids=str)
def test_float32(network, options):
    module, x = network
    expected = module(x).detach().numpy()
    model = edgenet.load(convert(module, (x[:1],)), **options)
    for batch in (3, 1):
        got = model.run(x[:batch].numpy())
        np.testing.assert_allclose(got, expected[:batch], atol=1e-4 * np.abs(expected).max())
    model.close()


def test_int8(network, tmp_path):
    """Layers run in int8 around the products, which stay float32; the file gives what the oracle gives."""
    module, x = network
    graph = convert(module, (x[:1],), precision="int8", calibration=[x.numpy()], force=True)
    products = [node for node in graph.nodes if node.operation == "matmul"]
    assert all(graph.tensors[name].dtype == "float32" for node in products for name in node.inputs.values())
    assert any(node.operation == "linear" and graph.tensors[node.inputs["x"]].dtype == "int8" for node in graph.nodes)
    graph.save(tmp_path / "m.edgenet")
    expected = reference.run(graph, {graph.inputs[0]: x.numpy()})[graph.outputs[0]]
    model = edgenet.load(tmp_path / "m.edgenet", threads=2)
    got = model.run(x.numpy())
    model.close()
    step = max(graph.tensors[node.output].quantization.scale[0] for node in graph.nodes if node.operation == "quantize")
    assert np.abs(got - expected).max() <= 4 * step
    noise = got - module(x).detach().numpy()
    assert 10 * np.log10((expected**2).sum() / (noise**2).sum()) > 15


def test_the_steps_of_a_recurrent_layer_share_their_weights():
    module, x = Reader().eval(), torch.randn(2, 3, 8, 12)
    graph = convert(module, (x[:1],), precision="int8", calibration=[x.numpy()], force=True)
    weights = [name for name, array in graph.constants.items() if array.shape == (12, 6)]
    assert len(weights) == 2
    assert all(graph.tensors[name].dtype == "float32" for name in weights)

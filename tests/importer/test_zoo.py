"""Every network of the zoo imports, and the oracle agrees with torch on it."""

from __future__ import annotations

import pytest
import torch

from edgenet.converter import zoo
from tests.importer.agreement import check

RESOLUTION = {"inception_v3": 107, "alexnet": 67, "vgg11": 47, "tiny_separable": 32, "googlenet": 65}


@pytest.mark.parametrize("name", zoo.names())
def test_oracle_agrees_with_torch(name):
    torch.set_num_threads(1)
    module = zoo.build(name)
    size = RESOLUTION.get(name, 64)
    large = sum(parameter.numel() for parameter in module.parameters()) > 15e6
    graph = check(module, (3, size, size), batches=(3,) if large else (1, 3))
    assert graph.tensors[graph.inputs[0]].shape == (-1, 3, size, size)
    assert not any(node.operation == "permute" for node in graph.nodes[1:]), "one permute, at the declared NCHW input"

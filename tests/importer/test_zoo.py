"""Every network of the zoo imports and optimises, and the oracle agrees with torch on both graphs."""

from __future__ import annotations

import pytest
import torch
from fvcore.nn import FlopCountAnalysis

from edgenet.commands.layers import cost_rows, total_row
from edgenet.converter import zoo
from edgenet.converter.passes import optimize
from tests.importer.agreement import agreement, check, validate

RESOLUTION = {"inception_v3": 107, "alexnet": 67, "vgg11": 47, "tiny_separable": 32, "googlenet": 65, "densenet121": 39}
COUNTED_BY_FVCORE = {"mobilenet_v1", "mobilenet_v1_std", "resnet18", "squeezenet1_1", "alexnet", "tiny_separable"}
"""Networks whose costs are compared with fvcore's; it takes seconds for each."""


@pytest.mark.parametrize("name", zoo.names())
def test_oracle_agrees_with_torch(name):
    torch.set_num_threads(1)
    size = RESOLUTION.get(name, 49)
    module = zoo.randomize_batchnorm(zoo.build(name), example=torch.randn(2, 3, 96, 96))
    graph = check(module, (3, size, size))
    assert graph.tensors[graph.inputs[0]].shape == (-1, 3, size, size)

    rows = cost_rows(graph)
    assert total_row(rows)["parameters"] == sum(parameter.numel() for parameter in module.parameters())
    if name in COUNTED_BY_FVCORE:
        counts = FlopCountAnalysis(module, torch.zeros(1, 3, size, size)).unsupported_ops_warnings(False).by_operator()
        layers = [row for row in rows if row["operation"] in ("conv2d", "linear") and row["kind"] != "batch norm"]
        assert sum(row["macs"] for row in layers) == counts["conv"] + counts["linear"], "fvcore counts MACs"

    optimized = optimize(graph)
    validate(optimized)
    assert agreement(optimized, module, (torch.randn(2, 3, size, size),)) < 1e-4
    assert [node.operation for node in optimized.nodes].count("permute") == 1, "one permute, at the NCHW input"
    assert len(optimized.nodes) < len(graph.nodes)

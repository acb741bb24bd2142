"""Activations written out as arithmetic become one node."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgenet.converter.importer import import_module
from edgenet.converter.passes import eliminate_dead, fuse_gate, optimize
from tests.importer.agreement import agreement
from tests.importer.modules import One
from tests.passes.builder import apply, operations

WRITTEN_OUT = {
    "swish": (lambda x: x * torch.sigmoid(x), "silu"),
    "swish reversed": (lambda x: x.sigmoid() * x, "silu"),
    "hard sigmoid": (lambda x: F.relu6(x + 3) / 6, "hardsigmoid"),
    "hard sigmoid by multiplication": (lambda x: (3 + x).clamp(0, 6) * (1 / 6), "hardsigmoid"),
    "hard swish": (lambda x: x * F.relu6(x + 3) / 6, "hardswish"),
    "hard swish, divided first": (lambda x: x * (F.relu6(x + 3.0, inplace=True) / 6.0), "hardswish"),
    "hard swish, reversed": (lambda x: F.hardtanh(x + 3, 0, 6) * x * (1 / 6), "hardswish"),
    "mish": (lambda x: x * torch.tanh(F.softplus(x)), "mish"),
}


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_written_out_activations(name):
    function, kind = WRITTEN_OUT[name]
    module = nn.Sequential(nn.Conv2d(3, 4, 1), One(function))
    graph = import_module(module, (torch.randn(1, 3, 4, 5),))
    count = 2 if name == "hard swish, divided first" else 1
    after = apply(fuse_gate, graph, count)
    eliminate_dead(after)
    assert operations(after) == ["permute", "conv2d", "activation", "permute"]
    assert after.nodes[2].attributes["activation"] == {"kind": kind}
    assert agreement(optimize(graph), module, (torch.randn(2, 3, 4, 5),)) < 1e-5


OTHERS = {
    "gate of another value": lambda x: x * torch.sigmoid(x + 1),
    "other bounds": lambda x: x * (x + 3).clamp(0, 5) / 6,
    "other shift": lambda x: F.relu6(x + 2) / 6,
    "other divisor": lambda x: F.relu6(x + 3) / 5,
    "clamp divided": lambda x: 6 / F.relu6(x.abs() + 3),
    "channel scale": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_expressions_stay(name):
    graph = import_module(One(OTHERS[name]), (torch.randn(1, 3, 4, 5),))
    apply(fuse_gate, graph, 0)

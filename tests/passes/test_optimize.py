"""All passes together, on modules as users write them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgenet.converter import passes, zoo
from edgenet.converter.importer import import_module
from edgenet.converter.passes import optimize
from edgenet.errors import ConversionError
from tests.importer.agreement import agreement, validate
from tests.importer.modules import Apply, One
from tests.passes.builder import Builder, operations


def optimized(module: nn.Module, *shape: int):
    """The optimised graph of a module, checked against torch."""
    torch.manual_seed(0)
    zoo.randomize_batchnorm(module.eval(), example=torch.randn(2, *shape))
    graph = optimize(import_module(module, (torch.randn(1, *shape),)))
    validate(graph)
    assert agreement(graph, module, (torch.randn(3, *shape),)) < 1e-4
    return graph


def test_a_plain_network():
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(8, 8, 3, 2, groups=8),
        nn.BatchNorm2d(8),
        nn.Hardswish(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(8, 4),
        nn.BatchNorm1d(4),
        nn.ReLU(),
    )
    graph = optimized(module, 3, 16, 16)
    assert operations(graph) == ["permute", "conv2d", "conv2d", "mean", "flatten", "linear"]
    assert [node.name for node in graph.nodes[1:]] == ["0", "4", "7", "8", "10"]


def test_a_residual_block():
    def forward(m, x):
        return F.relu(m.bn2(m.conv2(F.relu(m.bn1(m.conv1(x))))) + m.bn3(m.short(x)))

    layers = {f"bn{i}": nn.BatchNorm2d(6) for i in (1, 2, 3)}
    layers |= {"conv1": nn.Conv2d(4, 6, 3, 2, 1), "conv2": nn.Conv2d(6, 6, 3, 1, 1), "short": nn.Conv2d(4, 6, 1, 2)}
    graph = optimized(Apply(forward, **layers), 4, 9, 8)
    assert operations(graph) == ["permute", "conv2d", "conv2d", "conv2d", "permute"]


def test_a_preactivation_block():
    module = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
    assert operations(optimized(module, 4, 7, 7)) == ["permute", "conv2d", "conv2d", "permute"]


def test_a_batch_norm_between_activation_and_convolution():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3))
    assert operations(optimized(module, 3, 9, 9)) == ["permute", "conv2d", "conv2d", "permute"]


def test_an_input_normalisation_goes_into_the_first_unpadded_convolution():
    module = nn.Sequential(One(lambda x: (x - 0.45) / 0.225), nn.Conv2d(3, 4, 3))
    assert operations(optimized(module, 3, 9, 9)) == ["permute", "conv2d", "permute"]


def test_a_network_over_sequences():
    module = nn.Sequential(
        nn.Conv1d(3, 6, 5, padding=2),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(6, 8, 3),
        nn.BatchNorm1d(8),
        nn.LeakyReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    graph = optimized(module, 3, 20)
    assert operations(graph).count("conv2d") == 2
    assert operations(graph).count("activation") == 1
    assert operations(graph).count("permute") == 1


def test_the_graph_given_is_left_alone():
    graph = import_module(zoo.build("tiny_separable"), (torch.randn(1, 3, 32, 32),))
    before = [(node.operation, dict(node.inputs), dict(node.attributes), node.output) for node in graph.nodes]
    weights = {name: array.copy() for name, array in graph.constants.items()}
    optimize(graph)
    assert before == [(node.operation, node.inputs, node.attributes, node.output) for node in graph.nodes]
    assert all((graph.constants[name] == array).all() for name, array in weights.items())


def test_optimising_twice_finds_nothing_more():
    graph = optimize(import_module(zoo.build("mobilenet_v3_small"), (torch.randn(1, 3, 64, 64),)))
    again = optimize(graph)
    assert again.nodes == graph.nodes
    assert again.tensors == graph.tensors


def test_passes_that_never_end_are_reported(monkeypatch):
    monkeypatch.setattr(passes, "CLEANUP", (lambda graph: 1,))
    b = Builder(4)
    with pytest.raises(ConversionError, match="found no end"):
        optimize(b.finish(b.activation("relu", "x")))


def test_a_rewrite_that_breaks_the_graph_is_reported(monkeypatch):
    def damage(graph):
        found = graph.tensors["relu"]
        graph.tensors["relu"] = replace(found, shape=(-1, 5))
        return int(found.shape != (-1, 5))

    monkeypatch.setattr(passes, "CLEANUP", (damage,))
    b = Builder(4)
    with pytest.raises(ConversionError, match="left an invalid graph"):
        optimize(b.finish(b.activation("relu", "x")))

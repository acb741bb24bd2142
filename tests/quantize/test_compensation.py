"""Layers are fitted to what the layers before them have done to their inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgenet import reference
from edgenet.converter.quantize import QuantizationOptions, quantize
from edgenet.converter.quantize.compensation import Pairs, best_fit, error, fitted
from edgenet.converter.quantize.executor import Executor
from edgenet.converter.quantize.rounding import extract_patches, extract_positions
from edgenet.graph import Node
from tests.quantize.networks import NETWORKS, build, samples, validate


def pairs_of(x: torch.Tensor, y: torch.Tensor, difference: torch.Tensor | None = None, outputs: int = 3) -> Pairs:
    found = Pairs.empty(x.shape[0], x.shape[2], outputs)
    found.add(x, y, difference)
    return found


def data(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Patches [2, count, 5] with means, weights [2, 3, 5], and differences of residuals [2, count, 3]."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, count, 5, generator=generator) + 0.5
    return x, torch.randn(2, 3, 5, generator=generator).double(), torch.randn(2, count, 3, generator=generator)


def test_a_fit_without_ridge_is_least_squares() -> None:
    x, weight, difference = data(400)
    y = x + 0.3 * torch.roll(x, 1, 2) ** 2
    pairs = pairs_of(x, y, difference)
    found = fitted(pairs, weight, 0.0, 1e-9)
    wanted = x.double() @ weight.transpose(1, 2) + difference
    for group in range(2):
        centred = (y[group] - y[group].mean(0)).double()
        direct = torch.linalg.lstsq(centred, wanted[group] - wanted[group].mean(0)).solution
        assert torch.allclose(found[group], direct.T, atol=1e-3)
    assert torch.allclose(pairs.wanted_mean(weight), wanted.mean(1), atol=1e-4)
    assert error(pairs, weight, found) < error(pairs, weight, weight)


def test_a_foreseeable_error_is_undone() -> None:
    x, weight, _ = data(600)
    y = x.clone()
    y[:, :, 2] *= 0.5
    fit = best_fit([pairs_of(x[:, :300], y[:, :300]), pairs_of(x[:, 300:], y[:, 300:])], weight, 1e-9)
    assert torch.allclose(fit[:, :, 2], 2 * weight[:, :, 2], rtol=0.05, atol=0.05)
    assert torch.allclose(fit[:, :, :2], weight[:, :, :2], atol=0.05)


def test_what_cannot_be_judged_stays() -> None:
    x, weight, _ = data(50)
    assert torch.equal(best_fit([pairs_of(x, 0.5 * x)], weight, 1e-9), weight), "one fold"
    wide, noise = (torch.randn(1, 12, 60, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    rows = torch.randn(1, 3, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    folds = [pairs_of(wide[:, i::2], wide[:, i::2] + 0.05 * noise[:, i::2]) for i in (0, 1)]
    change = (best_fit(folds, rows, 1e-9) - rows).norm() / rows.norm()
    assert change < 0.05, "noise of few samples is not fitted"


@pytest.mark.parametrize("stride", [1, 2])
def test_positions_are_those_of_the_patches(stride: int) -> None:
    x = torch.randn(2, 60, 62, 4)
    node = Node("conv2d", "c", {}, "y", {"stride": [stride, stride], "groups": 2})
    patches = extract_patches(x, node, (1, 1))
    positions = extract_positions(x[:, ::stride, ::stride], node, 2)
    assert torch.equal(patches, positions)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_compensated_networks_keep_their_means_and_agree_with_the_oracle(name: str) -> None:
    graph, head = build(name), samples(8)
    plain = quantize(graph, head)
    found = quantize(graph, head, options=QuantizationOptions(compensate=True))
    validate(found)
    x = {graph.inputs[0]: samples(1, seed=3)[0]}
    want, got = reference.run(found, x), Executor(found).run(x)
    assert all(np.abs(want[key] - got[key]).max() <= 1e-4 * np.abs(want[key]).max() for key in graph.outputs)
    key = graph.outputs[0]
    means = []
    for int8 in (plain, found):
        errors = [
            reference.run(int8, {graph.inputs[0]: s})[key] - reference.run(graph, {graph.inputs[0]: s})[key]
            for s in head
        ]
        means.append(np.abs(np.mean(errors, axis=(0, 1))).mean())
    assert means[1] <= means[0] * 1.1


def test_it_is_left_out_where_layers_stay_float32() -> None:
    graph, head = build("separable"), samples(4)
    kept = quantize(graph, head, options=QuantizationOptions(compensate=True), keep=["classifier"])
    plain = quantize(graph, head, keep=["classifier"])
    assert kept.nodes == plain.nodes
    assert all(np.array_equal(kept.constants[name], plain.constants[name]) for name in plain.constants)

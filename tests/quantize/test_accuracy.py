"""Sensitivity, equalization, rounding for the least output error, bias correction."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgenet import reference
from edgenet.converter.importer import import_module
from edgenet.converter.passes import optimize
from edgenet.converter.quantize import QuantizationOptions, quantize
from edgenet.converter.quantize.equalization import equalize, find_classes
from edgenet.converter.quantize.executor import Executor
from edgenet.converter.quantize.rounding import (
    Moments,
    collect_moments,
    extract_patches,
    flat_weight,
    round_weights,
    unflat_weight,
)
from edgenet.converter.quantize.sensitivity import channel_sensitivity, observe_gradients
from edgenet.converter.quantize.weights import quantize_weights
from edgenet.graph import Node
from tests.quantize.networks import NETWORKS, build, samples, sqnr, validate
from tests.quantize.plain import PLAIN


class Uneven(nn.Module):
    """Expand, depthwise, project, residual, with channel ranges spread 1000:1; `clamp` None gives ReLU."""

    def __init__(self, clamp: float | None):
        super().__init__()
        self.stem, self.expand = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 1)
        self.depthwise, self.project = nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.Conv2d(16, 8, 1)
        self.classifier = nn.Linear(8, 5)
        self.clamp = clamp
        spread = torch.logspace(-3, 0, 16)[torch.randperm(16)].reshape(-1, 1, 1, 1)
        with torch.no_grad():
            self.expand.weight *= spread
            self.expand.bias *= spread.reshape(-1)  # type: ignore[operator]
            self.depthwise.weight /= spread

    def activate(self, x):
        return F.relu(x) if self.clamp is None else F.hardtanh(x, 0.0, self.clamp)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.project(self.activate(self.depthwise(self.activate(self.expand(x)))))
        return self.classifier(x.mean((2, 3)))


def uneven(clamp):
    torch.manual_seed(4)
    return optimize(import_module(Uneven(clamp).eval(), (torch.randn(1, 3, 12, 14),)))


def inputs_of(graph, arrays):
    return [{graph.inputs[0]: array} for array in arrays]


def mean_sqnr(graph, int8, arrays):
    key = graph.outputs[0]
    found = [sqnr(reference.run(graph, x)[key], reference.run(int8, x)[key]) for x in inputs_of(graph, arrays)]
    return float(np.mean(found))


@pytest.mark.parametrize("clamp", [None, 6.0])
def test_spread_channels_keep_their_accuracy(clamp):
    graph, test = uneven(clamp), samples(4, seed=5)
    plain = mean_sqnr(graph, quantize(graph, samples(16), options=PLAIN), test)
    default = mean_sqnr(graph, quantize(graph, samples(16)), test)
    assert default > plain + 6
    assert default > 30


@pytest.mark.parametrize("clamp", [None, 0.5, 6.0])
def test_equalization_computes_the_same(clamp):
    """Also for inputs other than those it saw."""
    graph = uneven(clamp)
    head = inputs_of(graph, samples(4))
    result, factors = equalize(graph, head, channel_sensitivity(graph, head))
    validate(result)
    assert any(np.max(f) > 4 for f in factors.values())
    assert all((f >= 1).all() for f in factors.values())
    for x in inputs_of(graph, samples(4, seed=7)):
        for key in graph.outputs:
            assert np.allclose(reference.run(graph, x)[key], reference.run(result, x)[key], rtol=1e-3, atol=1e-5)


def test_classes_join_what_is_added_and_leave_out_what_does_not_commute():
    def of(name):
        return [
            (sorted(n.name for n in group.producers), sorted(n.name for n in group.consumers), len(group.clamped))
            for group in find_classes(build(name))
        ]

    assert of("separable") == [
        (["project", "stem.0"], ["classifier", "expand.0"], 1),
        (["expand.0"], ["depthwise.0"], 1),
        (["depthwise.0"], ["project"], 1),
    ]
    assert of("excited") == [(["down"], ["up"], 0)]
    assert of("islands") == []


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_equalization_of_every_network(name):
    graph = build(name)
    head = inputs_of(graph, samples(3))
    result, factors = equalize(graph, head, channel_sensitivity(graph, head))
    scaled = reference.run(result, head[0], keep=True)
    for key, value in reference.run(graph, head[0], keep=True).items():
        assert np.allclose(value * factors.get(key, 1.0), scaled[key], rtol=1e-3, atol=1e-4)


def test_sensitivity_is_the_squared_jacobian():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 40), nn.Linear(40, 300)).eval()
    with torch.no_grad():
        module[1].weight *= torch.logspace(-1, 1, 40)
    graph = optimize(import_module(module, (torch.randn(1, 6),)))
    x = {graph.inputs[0]: torch.randn(512, 6).numpy()}
    found = channel_sensitivity(graph, [x])[graph.nodes[0].output]
    y = reference.run(graph, x)[graph.outputs[0]]
    second = graph.constants[graph.nodes[1].inputs["weight"]].astype(np.float64)
    assert np.allclose(found, np.square(second).sum(0) / np.square(y).mean(), rtol=0.4)


def saturating():
    """y = clamp(6 t, 0, 6) of values t between 0 and 1, and of one 8."""
    layers = nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False)
    module = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU6()).eval()
    with torch.no_grad():
        layers[0].weight.fill_(2.0)
        layers[1].weight.fill_(6.0)
    x = torch.cat([torch.linspace(0, 0.5, 4095), torch.tensor([4.0])]).reshape(1, 1, 64, 64)
    return optimize(import_module(module, (x,))), x


def test_ranges_leave_out_what_the_next_layer_does_not_tell_apart():
    graph, x = saturating()
    name = next(node.output for node in graph.nodes if node.operation == "conv2d")

    def span(weighted: bool) -> float:
        found = quantize(graph, [x], options=QuantizationOptions(weighted=weighted))
        return 255 * found.tensors[name].quantization.scale[0]

    assert span(False) > 7
    assert 1 <= span(True) < 6


def test_every_activation_is_observed_with_its_gradient():
    graph, x = saturating()
    middle, last = (node.output for node in graph.nodes if node.operation == "conv2d")
    seen = {}
    observe_gradients(graph, [{graph.inputs[0]: x.numpy()}], lambda name, *found: seen.update({name: found}))
    value, gradient = seen[middle]
    assert seen.keys() == {name for name in graph.tensors if name not in graph.constants}
    assert (gradient[value > 1.01] == 0).all()
    assert (gradient[value < 0.99] != 0).all()
    graph.outputs = [middle]
    observe_gradients(graph, [{graph.inputs[0]: x.numpy()}], lambda name, *found: seen.update({name: found}))
    assert (seen[middle][1] != 0).all()
    assert (seen[last][1] == 0).all()


geometry = st.fixed_dictionaries(
    {
        "stride": st.lists(st.integers(1, 2), min_size=2, max_size=2),
        "padding": st.lists(st.integers(0, 2), min_size=4, max_size=4),
        "dilation": st.lists(st.integers(1, 2), min_size=2, max_size=2),
        "groups": st.sampled_from([1, 2, 6]),
    }
)


@settings(max_examples=25, deadline=None)
@given(geometry, st.integers(1, 3), st.integers(1, 3))
def test_patches_times_weights_are_the_convolution(attributes, kh, kw):
    rng, groups = np.random.default_rng(0), attributes["groups"]
    x = torch.from_numpy(rng.standard_normal((2, 7, 8, 6)).astype(np.float32))
    weight = rng.standard_normal((12, kh, kw, 6 // groups)).astype(np.float32)
    node = Node("conv2d", "c", {}, "y", attributes)
    patches = extract_patches(x, node, (kh, kw))
    got = torch.from_numpy(flat_weight(weight, groups)) @ patches.transpose(1, 2)
    top, bottom, left, right = attributes["padding"]
    wide = F.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom))
    kernel = torch.from_numpy(weight).permute(0, 3, 1, 2)
    want = F.conv2d(wide, kernel, None, attributes["stride"], 0, attributes["dilation"], groups)
    assert torch.allclose(got.reshape(12, -1), want.permute(1, 0, 2, 3).reshape(12, -1), atol=1e-4)
    assert np.array_equal(unflat_weight(flat_weight(weight, groups), weight), weight)


def test_rounding_for_the_output_beats_rounding_to_nearest():
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((40, 40)) / 6
    x = torch.from_numpy((rng.standard_normal((1, 500, 40)) @ mixing + 1).astype(np.float32))
    weight, bias = rng.standard_normal((20, 40)).astype(np.float32), rng.standard_normal(20).astype(np.float32)
    moments = Moments(torch.zeros(1, 40), torch.zeros(1, 40, 40))
    moments.add(x)
    values = x[0].double().numpy()
    errors = []
    for given_moments in (None, moments):
        found = quantize_weights(weight, bias, 0.02, given_moments)
        got = (values @ found.weight.T + found.bias * 0.02) * found.scale
        errors.append(np.square(got - values @ weight.T - bias).sum())
        assert np.abs(found.weight).max() <= 127
    assert errors[1] < 0.5 * errors[0]


def test_rounding_survives_inputs_that_are_never_seen():
    moments = Moments(torch.zeros(2, 9), torch.zeros(2, 9, 9))
    moments.add(torch.zeros(2, 50, 9))
    weight = np.random.default_rng(2).standard_normal((4, 3, 3, 1)).astype(np.float32)
    stored, shift = round_weights(weight, np.full(4, 0.02), moments, 0.1)
    assert np.array_equal(stored, np.clip(np.rint(weight / 0.02), -127, 127))
    assert not shift.any()


def test_layers_that_read_the_same_share_moments_and_large_ones_have_none():
    graph = build("branches")
    layers = [node for node in graph.nodes if node.operation == "conv2d"]
    found = collect_moments(graph, inputs_of(graph, samples(2)), layers)
    assert set(found) == {node.name for node in layers}
    wide = optimize(import_module(nn.Sequential(nn.Linear(3000, 4)).eval(), (torch.randn(1, 3000),)))
    assert collect_moments(wide, [{wide.inputs[0]: np.zeros((1, 3000), np.float32)}], wide.nodes) == {}


def test_bias_correction_restores_means():
    graph, head = build("separable"), samples(8)
    plain = quantize(graph, head, options=PLAIN)
    corrected = quantize(graph, head, options=replace(PLAIN, correct_bias=True))
    validate(corrected)
    key = graph.outputs[0]
    difference = []
    for int8 in (plain, corrected):
        errors = [reference.run(int8, x)[key] - reference.run(graph, x)[key] for x in inputs_of(graph, head)]
        difference.append(np.abs(np.median([error.mean(0) for error in errors], 0)).sum())
    assert difference[1] < 0.3 * difference[0]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_corrected_networks_agree_between_executor_and_oracle(name):
    graph = build(name)
    int8 = quantize(graph, samples(3), options=QuantizationOptions(correct_bias=True))
    validate(int8)
    x = inputs_of(graph, samples(1, seed=3))[0]
    got, want = Executor(int8).run(x), reference.run(int8, x)
    for key, value in reference.run(graph, x).items():
        assert np.allclose(got[key], want[key], rtol=1e-4, atol=1e-5)
        assert sqnr(value, got[key]) > 22

"""Whole networks: structure and error of the int8 graph."""

import numpy as np
import pytest
import torch
from torch import nn

from edgenet import reference
from edgenet.converter.importer import import_module
from edgenet.converter.passes import optimize
from edgenet.converter.quantize import QuantizationOptions, quantize
from edgenet.errors import ConversionError, InputError
from tests.quantize.networks import NETWORKS, build, samples, sqnr, validate


def operations(graph):
    return [node.operation for node in graph.nodes]


@pytest.mark.parametrize("ranges", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_int8_is_close_to_float(name, ranges):
    graph = build(name)
    nodes, tensors = list(graph.nodes), dict(graph.tensors)
    int8 = quantize(graph, samples(8), options=QuantizationOptions(ranges=ranges))
    validate(int8)
    assert (graph.nodes, graph.tensors) == (nodes, tensors), "the float32 graph is left as it was"
    assert (int8.inputs, int8.outputs) == (graph.inputs, graph.outputs)
    assert all(int8.tensors[key].dtype == "float32" for key in (*int8.inputs, *int8.outputs))
    inputs = {graph.inputs[0]: samples(1, seed=1)[0]}
    want, got = reference.run(graph, inputs), reference.run(int8, inputs)
    for key in graph.outputs:
        assert sqnr(want[key], got[key]) > 22
    names = [node.name for node in int8.nodes]
    assert len(names) == len(set(names))
    assert set(int8.constants) == {c for node in int8.nodes for c in node.inputs.values() if c in int8.constants}


def test_every_layer_runs_in_int8_and_the_last_writes_float32():
    int8 = quantize(build("separable"), samples(2))
    assert operations(int8)[:2] == ["permute", "quantize"]
    assert operations(int8).count("quantize") == 1
    assert "dequantize" not in operations(int8)
    layers = [node for node in int8.nodes if node.operation in ("conv2d", "linear")]
    assert len(layers) == 5
    assert all(int8.tensors[node.inputs["x"]].dtype == "int8" for node in layers)
    assert all(int8.tensors[node.inputs["weight"]].quantization is None for node in layers), (
        "multipliers hold the scales"
    )
    assert int8.nodes[-1].operation == "linear"


def test_activations_become_tables_and_hardswish_is_fused():
    int8 = quantize(build("excited"), samples(2))
    tables = {node.name: int8.constants[node.inputs["table"]].shape for node in int8.nodes if node.operation == "table"}
    assert {(256,), (8, 256)} == set(tables.values())
    fused = [node.attributes["activation"] for node in int8.nodes if node.attributes.get("activation")]
    assert {"kind": "hardswish"} in fused
    assert set(operations(int8)) == {"permute", "quantize", "conv2d", "mean", "table", "mul"}


def test_concat_inputs_share_its_quantization_and_an_output_is_dequantized():
    graph = build("branches")
    int8 = quantize(graph, samples(2))
    assert operations(int8).count("quantize") == 1
    assert operations(int8).count("dequantize") == 1
    joined = next(node for node in int8.nodes if node.operation == "concat")
    assert joined.attributes["multipliers"] == [1.0, 1.0]
    used = {int8.tensors[name].quantization for name in (*joined.inputs.values(), joined.output)}
    assert len(used) == 1


def test_float_islands_are_as_small_as_they_can_be():
    int8 = quantize(build("islands"), samples(2))
    kinds = [kind for kind in operations(int8) if kind != "permute"]
    expected = ["quantize", "conv2d", "conv_transpose2d", "quantize", "conv2d", "layer_norm", "quantize", "linear"]
    assert kinds == [*expected, "softmax"]


def test_a_float_chain_is_one_island():
    kinds = [kind for kind in operations(quantize(build("gated"), samples(2))) if kind != "permute"]
    assert kinds[:2] == ["quantize", "conv2d"]
    assert kinds[-2:] == ["quantize", "conv2d"]
    assert {"quantize", "dequantize", "conv2d"}.isdisjoint(kinds[2:-2])


def test_ranges_respect_a_fused_clamp():
    int8 = quantize(build("separable"), samples(4))
    for node in int8.nodes:
        found = int8.tensors[node.output].quantization
        if node.attributes.get("q_min", -128) > -128 or node.attributes.get("q_max", 127) < 127:
            assert found is not None
            assert found.zero_point == node.attributes["q_min"]
            assert (node.attributes["q_max"] - found.zero_point) * found.scale[0] == pytest.approx(
                6, abs=found.scale[0]
            )


class Concats(nn.Module):
    """A tensor that two concats read, and one that a concat reads twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(n, 4, 1) for n in (3, 8, 16))

    def forward(self, x):
        first = torch.relu(self.a(x))
        second = self.b(torch.cat([first, first * 3], 1))
        return self.c(torch.cat([first, second, second, torch.sigmoid(second)], 1))


def test_a_tensor_read_elsewhere_keeps_its_own_quantization():
    torch.manual_seed(1)
    graph = optimize(import_module(Concats().eval(), (torch.randn(1, 3, 12, 14),)))
    int8 = quantize(graph, samples(4))
    validate(int8)
    for node in int8.nodes:
        if node.operation == "concat":
            assert set(node.attributes["multipliers"]) != {1.0}
    inputs = {graph.inputs[0]: samples(1, seed=2)[0]}
    key = graph.outputs[0]
    assert sqnr(reference.run(graph, inputs)[key], reference.run(int8, inputs)[key]) > 28


class Dead(nn.Module):
    """Channels of zeros and of tiny weights, an activation that is always zero."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 4, 1)
        with torch.no_grad():
            self.a.weight[0] = 0
            self.a.weight[1] *= 1e-20
            self.b.weight[2] = 0
            self.b.bias[2] = 1.5  # type: ignore[index]

    def forward(self, x):
        x = torch.relu(self.b(torch.relu(self.a(x))))
        return self.c(torch.cat([x, torch.relu(-1 - x)], 1)[:, :6]), self.c(torch.relu(-1 - x))


def test_dead_channels_and_dead_tensors():
    torch.manual_seed(2)
    graph = optimize(import_module(Dead().eval(), (torch.randn(1, 3, 12, 14),)))
    int8 = quantize(graph, samples(4))
    validate(int8)
    inputs = {graph.inputs[0]: samples(1, seed=2)[0]}
    want, got = reference.run(graph, inputs), reference.run(int8, inputs)
    for key in graph.outputs:
        assert sqnr(want[key], got[key]) > 28


def test_samples_stream_once_and_progress_is_shown():
    seen = []
    stream = (x for x in samples(3))
    quantize(build("separable"), stream, lambda *step: seen.append(step))
    assert [step for step in seen if step[0] == "calibrate"] == [("calibrate", n, 0) for n in (1, 2, 3)]
    assert all(done <= total for stage, done, total in seen if stage != "calibrate")


def test_samples_of_every_form_give_the_same_graph():
    graph = build("separable")
    arrays = samples(2)
    forms = [
        arrays,
        [torch.from_numpy(a) for a in arrays],
        [(a,) for a in arrays],
        [{graph.inputs[0]: a} for a in arrays],
    ]
    found = [quantize(graph, form) for form in forms]
    assert all(f.tensors == found[0].tensors and f.nodes == found[0].nodes for f in found)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((3, 12, 14), np.float32), "shape"),
        (np.zeros((1, 3, 12, 15), np.float32), "N, 3, 12, 14"),
        (np.full((1, 3, 12, 14), np.nan, np.float32), "finite"),
        ((np.zeros((1, 3, 12, 14)),) * 2, "must hold the inputs"),
        ({"y": np.zeros((1, 3, 12, 14))}, "must hold the inputs"),
    ],
)
def test_samples_that_do_not_fit(bad, message):
    with pytest.raises(InputError, match=message):
        quantize(build("separable"), [bad])


def test_no_samples():
    with pytest.raises(ConversionError, match="at least one"):
        quantize(build("separable"), [])

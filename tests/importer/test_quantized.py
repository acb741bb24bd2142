"""Programs with quantize and dequantize operators, made by hand: scales kept, values close to torch's."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import edgenet
from edgenet import reference
from edgenet.converter import convert
from edgenet.converter.importer.quantized import register_operators
from edgenet.errors import ConversionError

register_operators()
OPS = torch.ops.quantized_decomposed
RANGES = {torch.int8: (-128, 127), torch.uint8: (0, 255)}


def fake(x, scale, zero_point, dtype=torch.uint8):
    """Quantize and dequantize an activation."""
    low, high = RANGES[dtype]
    stored = OPS.quantize_per_tensor(x, scale, zero_point, low, high, dtype)
    return OPS.dequantize_per_tensor(stored, scale, zero_point, low, high, dtype)


class Layer(nn.Module):
    """int8 weights with their scales, dequantized where they are used."""

    def __init__(self, *shape):
        super().__init__()
        self.register_buffer("stored", torch.randint(-127, 128, shape, dtype=torch.int8))
        self.register_buffer("scales", 0.002 + 0.004 * torch.rand(shape[0]))
        self.register_buffer("zero_points", torch.zeros(shape[0], dtype=torch.int64))
        self.bias = nn.Parameter(0.3 * torch.randn(shape[0]))

    def weight(self):
        return OPS.dequantize_per_channel(self.stored, self.scales, self.zero_points, 0, -128, 127, torch.int8)


class Network(nn.Module):
    """Convolution, depthwise, residual addition, concat, sigmoid, mean, linear; unsigned and signed activations."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.head = Layer(8, 3, 3, 3), Layer(8, 1, 3, 3), Layer(8, 8, 1, 1), Layer(5, 16)

    def forward(self, x):
        x = fake(x, 0.03, 121)
        x = fake(F.relu6(F.conv2d(x, self.a.weight(), self.a.bias, 2, 1)), 0.02, 0)
        y = fake(F.relu(F.conv2d(x, self.b.weight(), self.b.bias, 1, 1, 1, 8)), 0.015, 0)
        x = fake(x + F.conv2d(y, self.c.weight(), self.c.bias), 0.04, -30, torch.int8)
        y = fake(torch.sigmoid(x), 1 / 256, -128, torch.int8)
        x = fake(torch.cat([x, y], 1), 0.04, -30, torch.int8)
        x = fake(x.mean((2, 3)), 0.02, 100)
        return fake(F.linear(x, self.head.weight(), self.head.bias), 0.05, 3, torch.int8)


QUANTIZATIONS = {
    *((0.03, -7), (0.02, -128), (0.015, -128), (0.04, -30), (1 / 256, -128), (0.02, -28), (0.05, 3)),
}
"""Scale and zero point, as int8, of Network's activations."""


def build(module, shape=(2, 3, 16, 16)):
    x = torch.randn(*shape)
    program = torch.export.export(module.eval(), (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    return program, x


@pytest.fixture
def network():
    torch.manual_seed(3)
    return Network()


def test_scales_are_kept(network):
    program, _ = build(network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = convert(program)
    activations = [tensor for name, tensor in graph.tensors.items() if name not in graph.constants]
    found = {(t.quantization.scale[0], t.quantization.zero_point) for t in activations if t.quantization}
    assert found == QUANTIZATIONS
    layers = [node for node in graph.nodes if node.operation in ("conv2d", "linear")]
    assert len(layers) == 4
    for node, layer in zip(layers, (network.a, network.b, network.c, network.head), strict=True):
        stored = graph.constants[node.inputs["weight"]]
        assert np.array_equal(np.moveaxis(stored, -1, 1), layer.stored.numpy())
        x_scale, y_scale = (graph.tensors[name].quantization.scale[0] for name in (node.inputs["x"], node.output))
        want = (x_scale * layer.scales.double().numpy() / y_scale).astype(np.float32)
        assert np.array_equal(graph.constants[node.inputs["multiplier"]], want)
        whole = np.rint(layer.bias.detach().numpy() / (x_scale * layer.scales.double().numpy()))
        assert np.array_equal(graph.constants[node.inputs["bias"]], whole)
    assert graph.metadata.provenance["precision"] == "int8"
    assert graph.metadata.golden_outputs


def test_values_are_those_of_the_program(network):
    program, x = build(network)
    graph = convert(program)
    with torch.no_grad():
        want = network(x).numpy()
    model = edgenet.load(graph, threads=1)
    found = model.run(x.numpy())
    model.close()
    assert np.array_equal(found, reference.run(graph, {graph.inputs[0]: x.numpy()})[graph.outputs[0]])
    steps = np.abs(found - want) / 0.05
    assert steps.max() < 1.01
    assert (steps > 0.01).mean() < 0.2


def test_a_saved_program(network, tmp_path):
    program, x = build(network)
    torch.export.save(program, tmp_path / "quantized.pt2")
    saved, direct = convert(tmp_path / "quantized.pt2"), convert(program)
    results = [reference.run(g, {g.inputs[0]: x.numpy()})[g.outputs[0]] for g in (saved, direct)]
    assert np.array_equal(*results)


def test_a_weight_of_minus_128_becomes_minus_127(network):
    network.a.stored[0, 0, 0, 0] = -128
    graph = convert(build(network)[0])
    stored = np.moveaxis(graph.constants[graph.nodes[2].inputs["weight"]], -1, 1)
    expected = network.a.stored.numpy().clip(-127, 127)
    assert stored[0, 0, 0, 0] == -127
    assert np.array_equal(stored, expected)


def test_a_bias_beyond_int32_widens_its_channel(network):
    with torch.no_grad():
        network.a.scales[1] = 1e-12
    graph = convert(build(network)[0])
    node = graph.nodes[2]
    assert abs(int(graph.constants[node.inputs["bias"]][1])) == 2**30 - 1
    assert not graph.constants[node.inputs["weight"]][1].any()


class Partly(nn.Module):
    """A layer with float weights, one with an asymmetric scale, one whose input carries none."""

    def __init__(self):
        super().__init__()
        self.first, self.plain, self.odd, self.last = (
            Layer(4, 3, 1, 1),
            nn.Conv2d(4, 4, 1),
            Layer(4, 4, 1, 1),
            Layer(4, 4, 1, 1),
        )
        self.odd.zero_points += 3

    def forward(self, x):
        x = fake(F.conv2d(fake(x, 0.03, 128), self.first.weight(), self.first.bias), 0.05, 128)
        x = fake(self.plain(x), 0.05, 128)
        x = torch.tanh(F.conv2d(x, self.odd.weight(), self.odd.bias))
        return F.conv2d(x, self.last.weight(), self.last.bias)


def test_what_lacks_a_scale_runs_in_float32_and_is_named_at_once():
    torch.manual_seed(0)
    module = Partly()
    program, x = build(module)
    with pytest.warns(UserWarning, match="run in float32") as caught:
        graph = convert(program)
    assert len(caught) == 1
    message = str(caught[0].message)
    layers = {n.name: graph.tensors[n.inputs["x"]].dtype for n in graph.nodes if n.operation == "conv2d"}
    assert sorted(layers.values()) == ["float32", "float32", "float32", "int8"]
    assert all(f"- {name}:" in message for name, dtype in layers.items() if dtype == "float32")
    found = reference.run(graph, {graph.inputs[0]: x.numpy()})[graph.outputs[0]]
    with torch.no_grad():
        want = module(x).numpy()
    assert np.abs(found - want).max() < 0.05 * np.abs(want).max()


class Twice(nn.Module):
    def forward(self, x):
        x = F.relu(x)
        return fake(x, 0.1, 0) + fake(x, 0.2, 0)


class Escaping(nn.Module):
    def forward(self, x):
        return OPS.quantize_per_tensor(x, 0.1, 0, -128, 127, torch.int8)


class Wide(nn.Module):
    def forward(self, x):
        stored = OPS.quantize_per_tensor(x, 0.1, 0, -(2**15), 2**15 - 1, torch.int16)
        return OPS.dequantize_per_tensor(stored, 0.1, 0, -(2**15), 2**15 - 1, torch.int16)


@pytest.mark.parametrize(
    ("module", "message"),
    [(Twice(), "two scales"), (Escaping(), "output is int8"), (Wide(), "quantize them to int8 or uint8")],
)
def test_refused(module, message):
    with pytest.raises(ConversionError, match=message):
        convert(build(module)[0])


def test_precision_and_calibration_are_refused(network):
    program, x = build(network)
    with pytest.raises(ConversionError, match="quantized already"):
        convert(program, precision="float32")
    with pytest.raises(ConversionError, match="quantized already"):
        convert(program, calibration=[x])

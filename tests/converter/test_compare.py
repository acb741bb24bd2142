"""Layer-by-layer comparison: what it measures, in what order, and that it finds the layer that was damaged."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgenet import reference
from edgenet.converter import compare, comparison_html, convert, zoo
from edgenet.converter.comparison import Deviation
from edgenet.converter.passes.rewrite import copy_graph
from edgenet.converter.quantize.factors import from_texts
from edgenet.errors import ConversionError
from edgenet.graph import Quantization
from tests.importer.modules import Apply


def samples(count: int = 3) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.standard_normal((3, 32, 32)).astype(np.float32) for _ in range(count)]


@pytest.fixture(scope="module")
def module() -> nn.Module:
    return zoo.randomize_batchnorm(zoo.build("tiny_separable"))


@pytest.fixture(scope="module")
def float32(module):
    return convert(module)


@pytest.fixture(scope="module")
def int8(module):
    return convert(module, precision="int8", calibration=samples())


def test_deviation_is_what_its_definition_says():
    random = np.random.default_rng(0)
    wanted = random.standard_normal((2, 4, 5)).astype(np.float32)
    got = wanted + random.standard_normal((2, 4, 5)).astype(np.float32) * 0.1
    got[..., 3] += 1
    deviation = Deviation()
    deviation.add(got[:1], wanted[:1])
    deviation.add(got[1:], wanted[1:])
    noise = ((got - wanted).astype(np.float64) ** 2).sum((0, 1))
    assert deviation.sqnr == pytest.approx(
        10 * math.log10((wanted.astype(np.float64) ** 2).sum() / noise.sum()), rel=1e-6
    )
    assert deviation.cosine == pytest.approx(
        float((got * wanted).sum() / np.linalg.norm(got) / np.linalg.norm(wanted)), rel=1e-5
    )
    assert deviation.maximum == pytest.approx(float(np.abs(got - wanted).max()))
    assert deviation.worst_channel == 3
    assert deviation.worst_share == pytest.approx(noise[3] / noise.sum(), rel=1e-5)


def test_equal_and_zero_values():
    deviation = Deviation()
    deviation.add(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32))
    assert (deviation.sqnr, deviation.cosine, deviation.maximum, deviation.worst_channel) == (None, 1.0, 0.0, None)
    deviation.add(np.ones((1, 3), np.float32), np.zeros((1, 3), np.float32))
    assert deviation.sqnr is not None
    assert deviation.cosine == 0


def test_a_float32_graph_is_exact_in_every_layer(module, float32):
    result = compare(module, float32, samples(2))
    assert [row["name"] for row in result.rows] == [node.name for node in float32.nodes]
    assert all(row["isolated_sqnr"] is None and row["sqnr"] is None for row in result.rows)
    assert result.outputs[0]["sqnr"] > 90
    assert result.outputs[0]["top1_agreement"] == 1.0
    assert result.samples == 2


def test_an_int8_graph_worst_layer_first(module, float32, int8):
    result = compare(module, int8, samples(), float32)
    found = [row["isolated_sqnr"] for row in result.rows if row["isolated_sqnr"] is not None]
    assert found == sorted(found)
    assert len(found) >= 12
    assert all(15 < value < 80 for value in found)
    assert [row["isolated_sqnr"] for row in result.rows[len(found) :]] == [None] * (len(result.rows) - len(found))
    assert 10 < result.outputs[0]["sqnr"] < 60
    names = {row["name"] for row in result.rows}
    assert {node.name for node in float32.nodes} <= names
    assert any(row["operation"] == "quantize" for row in result.rows)


def test_cumulative_values_are_those_of_the_oracle(module, float32, int8):
    x = samples(1)[0][None]
    wanted = reference.run(float32, {float32.inputs[0]: x}, keep=True)
    got = reference.run(int8, {int8.inputs[0]: x}, keep=True)
    result = compare(module, int8, [x], float32)
    factors = from_texts(int8.metadata.provenance)
    convolutions = [row for row in result.rows if row["operation"] == "conv2d"]
    assert len(convolutions) == 11
    for row in convolutions:
        node = next(n for n in int8.nodes if n.name == row["name"])
        tensor = int8.tensors[node.output]
        real = (got[node.output].astype(np.float64) - tensor.quantization.zero_point) * tensor.quantization.scale[0]
        deviation = Deviation()
        deviation.add(real / factors.get(node.output, 1.0), wanted[node.output])
        assert row["sqnr"] == pytest.approx(deviation.sqnr, abs=0.05)


def test_a_damaged_layer_is_found_with_its_channel(module, float32, int8):
    damaged = copy_graph(int8)
    node = [node for node in damaged.nodes if node.operation == "conv2d"][5]
    bias = damaged.constants[node.inputs["bias"]].copy()
    bias[4] += 10 * int(np.abs(bias).max() + 1000)
    damaged.constants[node.inputs["bias"]] = bias
    worst = compare(module, damaged, samples(), float32).rows[0]
    assert (worst["name"], worst["worst_channel"]) == (node.name, 4)
    assert worst["worst_channel_share"] > 0.9


def test_file_graph_and_text(module, int8, tmp_path):
    int8.save(tmp_path / "m.edgenet")
    from_file = compare(module, tmp_path / "m.edgenet", samples(1))
    from_graph = compare(module, int8, samples(1))
    assert from_file.rows == from_graph.rows
    text = str(from_file)
    assert text.startswith(f"{int8.metadata.provenance['name']}: 1 sample, ")
    assert from_file.rows[0]["name"] in text
    assert "against PyTorch" in text
    parsed = json.loads(from_file.to_json())
    assert parsed["rows"] == from_file.rows
    assert parsed["samples"] == 1


def test_a_model_contributes_its_own_outputs(module, float32):
    class Engine:
        graph = float32

        def run(self, sample):
            return reference.run(float32, sample)[float32.outputs[0]] + 1

    result = compare(module, Engine(), samples(1))
    assert result.outputs[0]["max_error"] == pytest.approx(1, abs=1e-3)


def test_several_inputs_and_outputs():
    module = Apply(
        lambda m, x, y: (m.conv(x).mean((2, 3)) + m.linear(y), m.conv(x)),
        conv=nn.Conv2d(3, 4, 3),
        linear=nn.Linear(5, 4),
    )
    inputs = (torch.randn(2, 3, 6, 6), torch.randn(2, 5))
    graph = convert(module, inputs)
    result = compare(module, graph, inputs)
    assert result.samples == 1
    assert [output["top1_agreement"] for output in result.outputs] == [1.0, None]


def test_progress_is_reported(module, float32):
    calls = []
    compare(module, float32, samples(2), progress=lambda *call: calls.append(call))
    assert calls == [("compare", 0, 2), ("compare", 1, 2), ("compare", 2, 2)]


def test_a_model_of_another_network_is_refused(module, float32):
    other = convert(nn.Sequential(nn.Conv2d(3, 4, 3)), (torch.randn(1, 3, 32, 32),))
    with pytest.raises(ConversionError, match="not converted from this module"):
        compare(module, other, samples(1))
    with pytest.raises(ConversionError, match="cannot be compared"):
        compare(module, 3, samples(1))


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_model_of_other_weights_is_refused(module, float32, int8, precision):
    other = zoo.randomize_batchnorm(zoo.build("tiny_separable", seed=1))
    with pytest.raises(ConversionError, match="most of its layers have other weights, and it says that it was made"):
        compare(other, {"float32": float32, "int8": int8}[precision], samples(1))


def test_a_model_of_a_wider_network_is_refused(float32):
    with pytest.raises(ConversionError, match=r"only \d of its 12 layers are in both"):
        compare(zoo.build("tiny_separable", width=40), float32, samples(1))


def test_a_module_with_other_outputs_is_refused(float32):
    other = zoo.build("tiny_separable", num_classes=4)
    with pytest.raises(ConversionError, match="other outputs"):
        compare(other, float32, samples(1), replace(float32))


def test_clipped_values_are_counted(module, float32, int8):
    narrow = copy_graph(int8)
    node = [node for node in narrow.nodes if node.operation == "conv2d"][4]
    tensor = narrow.tensors[node.output]
    small = Quantization((tensor.quantization.scale[0] / 8,), tensor.quantization.zero_point)
    narrow.tensors[node.output] = replace(tensor, quantization=small)
    found = {row["name"]: row for row in compare(module, narrow, samples(), float32).rows}
    assert found[node.name]["clipping"] > 0.02
    assert compare(module, float32, samples(1)).rows[0]["clipping"] is None
    others = [row["clipping"] for row in compare(module, int8, samples(), float32).rows if row["clipping"] is not None]
    assert max(others) < 0.02


def test_accuracy_of_labelled_samples(module, float32, int8):
    with torch.no_grad():
        truth = [int(module(torch.from_numpy(x[None])).argmax()) for x in samples(4)]
    found = compare(module, int8, list(zip(samples(4), [*truth[:3], (truth[3] + 1) % 10], strict=True)), float32)
    assert [row["name"] for row in found.accuracy] == ["PyTorch", "edgenet float32", "edgenet int8"]
    assert [row["top1"] for row in found.accuracy[:2]] == [0.75, 0.75]
    assert all(row["top1_interval"][0] < row["top1"] < row["top1_interval"][1] for row in found.accuracy[:2])
    assert all(row["top5"] >= row["top1"] for row in found.accuracy)
    assert "edgenet float32: top-1 75.00%" in str(found)
    assert compare(module, int8, samples(1), float32).accuracy == []


def test_a_page_holds_every_layer_and_loads_nothing(module, float32, int8):
    found = compare(module, int8, samples(2), float32)
    page = found.to_html()
    assert page.count("<rect") == len(found.rows) + 2
    assert all(f">{row['name']}<" in page for row in found.rows)
    assert page.index(f"<td>{found.rows[0]['name']}</td>") < page.index(f"<td>{found.rows[1]['name']}</td>")
    assert not any(word in page for word in ("http", "<script", "src="))
    assert [row["position"] for row in comparison_html.in_order(found.rows)] == list(range(len(found.rows)))

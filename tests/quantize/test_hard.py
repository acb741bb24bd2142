"""Channel ranges spread 1000:1: int8 keeps the accuracy by default, and max_drop keeps what even that cannot."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from edgenet.converter import Report, convert
from edgenet.converter.budget import Judge, search
from edgenet.converter.evaluation import Evaluation
from edgenet.converter.passes.rewrite import copy_graph
from edgenet.converter.quantize import Calibrated, QuantizationOptions
from edgenet.converter.quantize.executor import Executor
from edgenet.converter.quantize.placement import place
from edgenet.converter.samples import Samples
from edgenet.errors import ConversionError
from edgenet.graph import Graph
from tests.quantize.hard import exported, pictures, spread, trained
from tests.quantize.networks import validate


def top1(graph: Graph) -> float:
    """Accuracy in percent on 1,000 pictures that training did not see."""
    x, classes = pictures(1000, seed=9)
    (got,) = Executor(graph).run({graph.inputs[0]: x}).values()
    return 100 * float((got.argmax(1) == classes).mean())


def calibration() -> list[np.ndarray]:
    return [picture[None] for picture in pictures(32, seed=5)[0]]


def labelled(count: int = 500) -> list[tuple[np.ndarray, int]]:
    x, classes = pictures(count, seed=7)
    return [(picture[None], int(number)) for picture, number in zip(x, classes, strict=True)]


def per_tensor(graph: Graph) -> Graph:
    """The float32 graph with the weights of each layer rounded to 255 values of one scale."""
    result = copy_graph(graph)
    for node in result.nodes:
        if node.operation in ("conv2d", "linear"):
            weight = result.constants[node.inputs["weight"]]
            scale = np.abs(weight).max() / 127
            result.constants[node.inputs["weight"]] = (np.rint(weight / scale) * scale).astype(np.float32)
    return result


def test_spread_channels_lose_less_than_a_point_where_per_tensor_quantization_collapses() -> None:
    plain = exported(trained(smooth=False))
    graph = exported(spread(copy.deepcopy(trained(smooth=False))))
    before = top1(plain)
    assert before > 85
    assert abs(top1(graph) - before) < 0.3, "the same function"
    assert top1(per_tensor(graph)) < before - 20
    assert top1(Calibrated(graph, calibration()).lower()) > before - 1


@pytest.fixture(scope="module")
def hard() -> torch.nn.Module:
    """With SiLU nothing can be rescaled back: the spread must be trained away, or kept in float32."""
    module = copy.deepcopy(trained(smooth=True))
    parts = [part for part in module.modules() if isinstance(part, torch.nn.Conv2d)]
    with torch.no_grad():
        for part, other in ((parts[1], parts[2]), (parts[3], parts[4])):
            scale = torch.logspace(0, 3, part.weight.shape[0])[torch.randperm(part.weight.shape[0])]
            other.weight[:, :] /= scale.reshape(1, -1, 1, 1)
            part.weight *= scale.reshape(-1, 1, 1, 1)
            assert part.bias is not None
            part.bias *= scale
    return module


def test_max_drop_keeps_points(hard: torch.nn.Module) -> None:
    reports: list[Report] = []
    graph = convert(
        hard,
        (torch.zeros(1, 1, 16, 16),),
        precision="int8",
        calibration=calibration(),
        test=labelled(),
        max_drop=0.5,
        on_report=reports.append,
    )
    validate(graph)
    found = reports[0].budget
    assert found is not None
    assert found["unit"] == "points"
    assert found["float32"] - found["int8"] > 0.5, "the network is hard"
    assert found["float32"] - found["found"] <= 0.5
    assert 0 < len(found["kept"]) <= 4
    assert 0 < found["macs_share"] < 0.8
    assert all(row["bytes"] > 0 for row in found["kept"])
    for row in found["kept"]:
        node = next(node for node in graph.nodes if node.name == row["name"])
        assert graph.tensors[node.inputs["x"]].dtype == "float32"
    text = str(reports[0])
    assert "at most 0.5 points" in text
    assert "smallest share" in text
    assert all(row["name"] in text for row in found["kept"])


class Rule:
    """Judges a graph by which nodes are in float32."""

    unit, reference = "dB", None

    def __init__(self, needed: set[str]):
        self.needed = needed

    def score(self, graph: Graph) -> float:
        int8 = {node.name for node in graph.nodes if graph.tensors[next(iter(node.inputs.values()))].dtype == "int8"}
        return float(not self.needed & int8)

    def meets(self, score: float, max_drop: float) -> bool:
        return score >= max_drop


@pytest.mark.parametrize("needed", [[], [0], [1], [5], [0, 3], [2, 4, 5], [0, 1, 2, 3, 4, 5]])
def test_the_search_finds_exactly_the_layers_that_are_needed(needed: list[int]) -> None:
    calibrated = Calibrated(exported(trained(smooth=False)), calibration()[:2])
    order = [node.name for node in calibrated.source.nodes if node.operation in ("conv2d", "linear")]
    assert len(order) == 6
    wanted = {order[index] for index in needed}
    found = search(calibrated, order, Rule(wanted), 1.0)  # type: ignore[arg-type]  # all that a search calls
    assert set(found.kept) == wanted
    assert found.complete
    assert (found.score, found.int8_score) == (1.0, float(not wanted))


def test_a_budget_that_nothing_meets_is_refused() -> None:
    calibrated = Calibrated(exported(trained(smooth=False)), calibration()[:2])
    with pytest.raises(ConversionError, match="not even float32"):
        search(calibrated, ["stem.0"], Rule({"classifier"}), 1.0)  # type: ignore[arg-type]  # all that a search calls


def test_decibels_without_labels_and_no_islands() -> None:
    graph = exported(trained(smooth=False))
    calibrated = Calibrated(graph, calibration())
    data = Evaluation(Samples(calibration()[:8], lambda x: {graph.inputs[0]: x}), None)
    judge = Judge(data, graph)
    first = judge.score(calibrated.lower())
    order = [node.name for node in calibrated.source.nodes if node.operation in ("conv2d", "linear")]
    found = search(calibrated, order, judge, first + 3)
    assert found.kept
    assert found.score >= first + 3
    kinds = [node.operation for node in found.graph.nodes]
    changes = sum((a in found.kept) != (b in found.kept) for a, b in zip(["", *order][:-1], order, strict=True))
    assert kinds.count("quantize") + kinds.count("dequantize") <= changes + 1
    whole = calibrated.lower(set(order))
    assert [node.operation for node in whole.nodes] == [node.operation for node in calibrated.source.nodes]
    assert judge.score(whole) > 90


def test_layers_kept_in_float32_are_the_only_ones() -> None:
    calibrated = Calibrated(exported(trained(smooth=True)), calibration()[:4])
    everything = place(calibrated.source).int8
    kept = {"pointwise1.0", "classifier"}
    some = place(calibrated.source, kept).int8
    assert some < everything
    assert not some & kept
    mixed = calibrated.lower(kept)
    validate(mixed)
    layers = {node.name: mixed.tensors[node.inputs["x"]].dtype for node in mixed.nodes if "weight" in node.inputs}
    assert {name for name, dtype in layers.items() if dtype == "float32"} == kept


def test_options_reach_a_calibration() -> None:
    options = replace(QuantizationOptions(), equalize=False, rounding="nearest", weighted=False)
    calibrated = Calibrated(exported(trained(smooth=False)), calibration()[:2], options=options)
    assert not calibrated.moments
    assert not calibrated.sensitivity

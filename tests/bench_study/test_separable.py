"""The studies of single layers. Figures are checked for what they are made of, never for speed."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from edgenet import load, reference
from edgenet.bench import roofline, separable
from edgenet.bench.layers import KINDS, Layer, build, layer_nodes, parse_size, read_layers
from edgenet.bench.remarks import remark
from edgenet.bench.roofline import ARITHMETIC, bounds, depthwise_rate
from edgenet.bench.stage import Stage
from edgenet.bench.timing import facts
from edgenet.engine import limits
from edgenet.errors import InputError
from edgenet.ops import graph_cost

LAYER = Layer(8, 8, 16, 32)
SPEEDS = {"L1": 200.0, "L2": 100.0, "L3": 50.0, "memory": 10.0}
RATE = 30.0
LIMITS = limits.Limits("any", 1, 100.0, 400.0, 20.0, SPEEDS, SPEEDS, SPEEDS, 0.0)


@pytest.fixture(autouse=True)
def _known_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that need no measuring."""
    monkeypatch.setattr(limits, "saved", lambda isa, threads: LIMITS)
    monkeypatch.setattr(roofline, "depthwise_rate", lambda *layer: RATE)


@pytest.mark.parametrize("precision", separable.PRECISIONS)
def test_row_of_a_layer(precision: str) -> None:
    row = separable.measure(LAYER, precision, LIMITS, rounds=2)
    standard, pair = row["sides"]["standard"], row["sides"]["separable"]
    assert row["law"] == pytest.approx(1 / 32 + 1 / 9)
    assert row["measured"] == pytest.approx(pair["ms"] / standard["ms"])
    assert row["roofline"] == pytest.approx(pair["expected_ms"] / standard["bound_ms"])
    expected = pair["nodes"]["depthwise"]["flops"] / RATE / 1e6 + pair["nodes"]["pointwise"]["bound_ms"]
    assert pair["expected_ms"] == pytest.approx(expected)
    assert pair["flops"] / standard["flops"] == pytest.approx(row["law"])
    assert list(pair["nodes"]) == ["depthwise", "pointwise"]
    assert sum(node["ms"] for node in pair["nodes"].values()) == pytest.approx(pair["ms"])
    prefix = {"float32": "f32_", "int8": "s8_"}[precision]
    for side in (standard, pair):
        assert side["share"] == pytest.approx(side["bound_ms"] / side["ms"])
        assert all(
            kernel.startswith((prefix, "any_pad")) for node in side["nodes"].values() for kernel in node["kernels"]
        )


def test_winograd_stands_beside_the_direct_algorithm() -> None:
    row = separable.measure(Layer(16, 16, 32, 32), "float32", LIMITS, rounds=1)
    sides = row["sides"]
    assert list(sides) == ["standard", "separable", separable.WINOGRAD]
    used = {side: [k for node in found["nodes"].values() for k in node["kernels"]] for side, found in sides.items()}
    assert not any("winograd" in kernel for kernel in used["standard"])
    assert any("winograd" in kernel for kernel in used[separable.WINOGRAD])
    assert row[separable.WINOGRAD] == pytest.approx(sides["separable"]["ms"] / sides[separable.WINOGRAD]["ms"])
    assert f"{row[separable.WINOGRAD]:.4f}" in separable.text([row], facts(1))


def test_reduction_before_a_convolution() -> None:
    layer = Layer(8, 8, 64, 32, 5, 1, 16)
    row = separable.measure(layer, "float32", LIMITS, rounds=1)
    assert row["law"] == pytest.approx(16 / 64 + 16 / (25 * 32))
    assert list(row["sides"]["reduced"]["nodes"]) == ["reduction", "standard"]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("reduction", [0, 8])
def test_law_is_the_share_of_the_flops(stride: int, reduction: int) -> None:
    layer = Layer(12, 10, 16, 24, 5, stride, reduction)
    kinds = ("standard", "reduced" if reduction else "separable")
    standard, other = (sum(cost.flops for cost in convolutions(build(layer, kind))) for kind in kinds)
    assert other / standard == pytest.approx(layer.predicted)


def convolutions(graph):
    costs = graph_cost(graph)
    return [costs[node.output] for node in layer_nodes(graph)]


@pytest.mark.parametrize("kind", [*KINDS, "reduced"])
@pytest.mark.parametrize("precision", separable.PRECISIONS)
@pytest.mark.parametrize("layer", [Layer(8, 8, 16, 32, 3, 1, 8), Layer(9, 7, 8, 24, 5, 2, 8)], ids=str)
def test_layers_compute_what_the_reference_does(layer: Layer, precision: str, kind: str) -> None:
    graph = build(layer, kind, precision)
    model = load(graph, threads=1)
    x = model.example_inputs()["x"]
    expected = reference.run(graph, {"x": x})[graph.outputs[0]]
    tolerance = 0 if precision == "int8" else 1e-4 * float(np.abs(expected).max())
    np.testing.assert_allclose(model.run(x), expected, rtol=0, atol=tolerance)
    assert len(np.unique(expected)) > 20, "the layer's values vary, as those of a trained one do"


def test_stage_runs_the_chosen_steps_alone() -> None:
    stage = Stage(build(LAYER, "separable"), ["pointwise"], threads=1)
    assert {step.node for step in stage.steps} == {"pointwise"}
    assert stage.milliseconds() > 0
    assert stage.shares() == {"pointwise": 1.0}
    both = Stage(build(LAYER, "separable"), ["depthwise", "pointwise"], threads=2).shares()
    assert sum(both.values()) == pytest.approx(1)


def test_bound_is_arithmetic_or_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "cache_sizes", lambda: {"L1": 1000, "L2": 10_000, "L3": 1 << 30})
    graph = build(Layer(32, 32, 64, 64), "separable")
    found = bounds(graph, LIMITS)
    assert found["pointwise"].ms == pytest.approx(2 * 64 * 64 * 1024 / 100.0 / 1e6)
    assert found["pointwise"].limit == ARITHMETIC
    slow = limits.Limits("any", 1, 1e9, 1e9, 1e9, SPEEDS, SPEEDS, SPEEDS, 0.0)
    moved = 2 * 32 * 32 * 64 * 4 + 9 * 64 * 4 + 64 * 4
    bound = bounds(graph, slow)["depthwise"]
    parts = {"L1": 1000, "L2": 10_000, "L3": moved - 11_000}
    assert bound.ms == pytest.approx(sum(part / SPEEDS[level] for level, part in parts.items()) / 1e6)
    assert bound.limit == "L3"
    assert bound.intensity == pytest.approx(2 * 9 * 64 * 1024 / moved)


def test_rate_of_a_depthwise_kernel_is_measured() -> None:
    rates = [depthwise_rate(precision, 3, 1, 14, 16) for precision in separable.PRECISIONS]
    assert min(rates) > 0


def test_int8_bound_counts_whole_groups_and_requantization() -> None:
    from edgenet.kernels.isa import host
    from edgenet.kernels.table_int8 import group_depth

    bound = bounds(build(Layer(8, 8, 16, 16), "depthwise", "int8"), LIMITS)["depthwise"]
    group, results = group_depth(host()), 8 * 8 * 16
    products = 2 * -(-9 // group) * group * results / 400.0
    assert bound.ms == pytest.approx((products + results / 20.0) / 1e6)
    assert bound.requantizing == pytest.approx(results / 20.0 / (products + results / 20.0))


def _row(factor: float, **changed: dict) -> dict:
    """A row whose measured ratio is `factor` times the law; `changed` updates the nodes."""
    node = {"limit": ARITHMETIC, "share": 1.0, "requantizing": 0.0, "bytes": 2e6}
    law = 0.1267
    nodes = {
        "depthwise": node | {"ms": law * factor / 2, "flops": 100},
        "pointwise": node | {"ms": law / 2, "flops": 800},
    }
    for name, values in changed.items():
        nodes.setdefault(name, dict(node))
        nodes[name] = nodes[name] | values
    standard = {"standard": node | {"ms": 1.0, "flops": 7000} | changed.get("standard", {})}
    nodes.pop("standard", None)
    sides = {
        "standard": {"nodes": standard, "bound_ms": 1.0, "flops": 7000, "ms": 1.0},
        "separable": {"nodes": nodes, "bound_ms": 0.12, "flops": 900, "ms": law * factor},
    }
    return {"law": law, "measured": law * factor, "layer": asdict(Layer(28, 28, 64, 64)), "sides": sides}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (_row(1.2), ""),
        (_row(1.5, depthwise={"limit": "L3"}), "bandwidth: depthwise"),
        (_row(1.5, depthwise={"requantizing": 0.5}), "requantization: 50%"),
        (_row(1.5, depthwise={"share": 0.3}), "cache: depthwise at 30% of its limit"),
        (_row(0.5, standard={"share": 0.4, "ms": 2.5}), "cache: standard at 40%"),
    ],
)
def test_remark_names_the_cause(row: dict, words: str) -> None:
    found = remark(row)
    assert found.startswith(words)
    assert bool(found) == bool(words)


def test_summary_counts_rows() -> None:
    def row(name: str, law: float, measured: float, roofline: float, share: float, filters: int = 64) -> dict:
        layer = asdict(Layer(28, 28, 64, filters))
        sides = {"standard": {"share": 1.0}, "separable": {"share": share}, separable.WINOGRAD: {"share": 3.0}}
        found = {"name": name, "precision": "float32", "layer": layer, "sides": sides}
        return found | {"law": law, "measured": measured, "roofline": roofline}

    rows = [row("a", 0.1, 0.11, 0.1, 0.9), row("b", 0.1, 0.2, 0.1, 0.5), row("c", 0.1, 0.07, 0.07, 0.9)]
    found = separable.summary([*rows, row("d", 0.1, 0.3, 0.3, 0.9, filters=16)])
    assert (found["rows"], found["core"]) == (4, 3)
    assert found["law"] == pytest.approx(1 / 3)
    assert found["not_slower"] == pytest.approx(2 / 3)
    assert found["limits"] == pytest.approx(2 / 3)
    assert found["roofline"] == pytest.approx(3 / 4)


def test_layer_lists() -> None:
    layers = read_layers("mobilenet_v1")
    assert len(layers) == 9
    assert Layer(14, 14, 512, 512) in layers
    assert all(layer.reduction for layer in read_layers("inception"))
    with pytest.raises(InputError, match="perceptron"):
        read_layers("perceptron")


def test_size_is_height_width_channels() -> None:
    assert parse_size("14x7x512") == (14, 7, 512)
    with pytest.raises(InputError):
        parse_size("fourteen")

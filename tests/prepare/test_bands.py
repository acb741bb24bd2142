"""Networks computed by bands of rows: the same bits in less memory, and no two live buffers overlap."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

import edgenet
from edgenet import reference
from edgenet.converter import zoo
from edgenet.converter.importer import import_module
from edgenet.converter.passes import optimize
from edgenet.converter.quantize import quantize
from edgenet.engine import caches
from edgenet.errors import InputError
from edgenet.graph import Graph, Node, Tensor
from edgenet.kernels.isa import available, host
from edgenet.prepare import band_cache, band_planner
from edgenet.prepare.describe import plan_info
from edgenet.prepare.plan import Plan
from edgenet.prepare.prepare import prepare
from tests.attacks.survivors import bounded
from tests.engine.networks import separable
from tests.kernels.harness import TARGETS, execute
from tests.passes.builder import Builder
from tests.prepare.test_arena import check_plan
from tests.quantize.plain import PLAIN

SIZE = 33


@lru_cache(maxsize=2)
def network(name: str, precision: str) -> Graph:
    torch.manual_seed(0)
    module = zoo.randomize_batchnorm(zoo.build(name), example=torch.randn(1, 3, SIZE, SIZE)).eval()
    graph = optimize(import_module(module, (torch.randn(1, 3, SIZE, SIZE),)))
    return quantize(graph, [images(1, SIZE)], options=PLAIN) if precision == "int8" else graph


def in_bands(plan: Plan) -> bool:
    """Whether some layer is computed by bands of rows."""
    return any(layer["bands"] > 1 for layer in plan_info(plan)["steps"])


def images(batch: int, height: int, width: int | None = None) -> np.ndarray:
    return np.random.default_rng(batch).standard_normal((batch, 3, height, width or height), dtype=np.float32)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_lite0", "shufflenet_v2_x0_5"])
def test_any_size_batch_and_number_of_threads(name: str, precision: str):
    graph = network(name, precision)
    for batch, height, width, threads in ((1, 71, 45, 1), (3, 38, 52, 2), (2, 65, 33, 3)):
        x = images(batch, height, width)
        fast, low = edgenet.load(graph, threads), edgenet.load(graph, threads, memory="low")
        np.testing.assert_array_equal(low.run(x), fast.run(x))
        plan = low.plan(x)
        check_plan(plan)
        assert plan.arena_bytes < fast.plan(x).arena_bytes
        assert plan.naive_bytes == fast.plan(x).naive_bytes


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize(("batch", "size"), [(1, 19), (2, 24)])
def test_every_instruction_set(target, batch: int, size: int):
    """Kernels see rows of a buffer where they otherwise see an image; they stay within what they are given."""
    graph = separable(channels=20, depth=3, size=size)
    arrays = {"x": np.random.default_rng(0).standard_normal((batch, size, size, 20), dtype=np.float32)}
    expected, fast = execute(graph, arrays, target)
    found, low = execute(graph, arrays, target, memory="low")
    assert low.arena_bytes < fast.arena_bytes
    np.testing.assert_array_equal(found[graph.outputs[0]], expected[graph.outputs[0]])


def test_int8_equals_the_oracle():
    graph = network("mobilenet_v2", "int8")
    x = images(2, SIZE)
    expected = reference.run(graph, {graph.inputs[0]: x})[graph.outputs[0]]
    np.testing.assert_array_equal(edgenet.load(graph, 2, memory="low").run(x), expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("target", available(), ids=lambda target: target.name)
def test_mobilenet_v2_int8_at_224_pixels_fits_700_kilobytes(target, threads: int):
    graph = network("mobilenet_v2", "int8")
    plan = prepare(graph, {graph.inputs[0]: (1, 3, 224, 224)}, target, threads, memory="low")
    check_plan(plan)
    assert plan.arena_bytes <= 700_000


@pytest.mark.parametrize("memory", ["fast", "low"])
@pytest.mark.parametrize(
    "shape",
    [
        (), (1,), (8,), (1, 1), (20, 8), (24, 1, 1), (1, 20, 8), (24, 20, 8), (1, 24, 1, 8), (1, 1, 20, 1),
        (2, 1, 1, 8), (2, 1, 20, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("operation", ["add", "mul"])
def test_constants_of_every_shape(operation: str, shape: tuple[int, ...], memory: str, monkeypatch: pytest.MonkeyPatch):
    """Those that differ from row to row, or image to image, stay out of bands, whatever dimensions they have."""
    monkeypatch.setattr(band_cache, "STEP_BYTES", 100)
    monkeypatch.setattr(band_cache, "LEAST_BYTES", 0)
    monkeypatch.setattr(caches, "own_cache", lambda: 50_000)
    builder = Builder(24, 20, 8)
    if shape[:1] == (2,):
        builder.graph.tensors["x"] = Tensor("x", (2, 24, 20, 8))
    y = builder.conv("first", "x", 8, 3, padding=[1, 1, 1, 1])
    for number in range(3):
        y = builder.node(operation, f"{operation}{number}", {"a": y, "b": builder.constant(f"c{number}", *shape)})
        y = builder.conv(f"expand{number}", y, 32)
        y = builder.conv(f"depthwise{number}", y, 32, 3, groups=32, padding=[1, 1, 1, 1])
        y = builder.conv(f"project{number}", y, 8)
    graph = builder.finish(y)
    x = np.random.default_rng(0).standard_normal((2, 24, 20, 8), dtype=np.float32)
    expected = reference.run(graph, {"x": x})[y]
    model = edgenet.load(graph, 1, memory=memory)
    found = model.run(x)
    plan = model.plan(x)
    assert in_bands(plan)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_nothing_changes_where_bands_do_not_help():
    graph = separable(channels=8, depth=1, size=2)
    shapes = {"x": (1, 2, 2, 8)}
    fast, low = (prepare(graph, shapes, host(), 1, memory=memory) for memory in ("fast", "low"))
    assert low.arena_bytes == fast.arena_bytes
    assert [step.kernel for step in low.steps] == [step.kernel for step in fast.steps]


def test_profile_and_summary_have_one_row_for_all_bands():
    model = edgenet.load(separable(channels=8, depth=2, size=40), 1, memory="low")
    x = np.zeros((1, 40, 40, 8), np.float32)
    plan, rows = model.plan(x), model.profile(x, repeats=1).rows
    assert [row["name"] for row in rows] == [node.name for node in model.graph.nodes]
    assert in_bands(plan)
    assert len(plan.steps) > len(rows)
    whole = prepare(model.graph, {"x": x.shape}, model.target, 1)
    assert sum(row["flops"] for row in rows) == sum(step.flops for step in whole.steps)
    expand = next(row for row in rows if row["name"] == "block0.expand")
    assert expand["shape"] == [1, 40, 40, 16]
    assert len(model.plan_info()["steps"]) == len(rows)


def test_memory_is_fast_or_low():
    with pytest.raises(InputError, match="fast, low"):
        edgenet.load(separable(), memory="tiny")


def chain(length: int) -> Graph:
    """Depthwise convolutions of small images, one after the other."""
    image = Tensor("x", (-1, 8, 8, 64))
    graph = Graph({"x": image}, inputs=["x"], outputs=[f"{length - 1}"])
    weight = graph.add_constant("weight", np.ones((64, 3, 3, 1), np.float32))
    attributes = {"groups": 64, "padding": [1, 1, 1, 1]}
    for i in range(length):
        graph.tensors[f"{i}"] = replace(image, name=f"{i}")
        graph.nodes.append(
            Node("conv2d", f"{i}", {"x": f"{i - 1}" if i else "x", "weight": weight}, f"{i}", attributes)
        )
    return graph


def test_long_chains_are_planned_in_seconds():
    with bounded(20):
        plan = prepare(chain(3000), {"x": (1, 8, 8, 64)}, host(), 1, memory="low")
    assert len(plan.steps) >= 3000


def test_graphs_of_too_many_nodes_are_not_computed_by_bands(monkeypatch):
    graph = separable(depth=2, size=32)

    def steps(memory: str, cache: int) -> int:
        return len(prepare(graph, {"x": (1, 32, 32, 24)}, host(), 1, memory=memory, cache=cache).steps)

    monkeypatch.setattr(band_cache, "LEAST_BYTES", 0)
    monkeypatch.setattr(band_cache, "STEP_BYTES", 0)
    at_once = steps("fast", 0)
    assert min(steps("low", 0), steps("fast", 50_000)) > at_once
    for planner in (band_cache, band_planner):
        monkeypatch.setattr(planner, "MOST_NODES", len(graph.nodes) - 1)
    assert steps("low", 0) == steps("fast", 50_000) == at_once

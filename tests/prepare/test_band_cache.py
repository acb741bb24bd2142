"""Bands for speed: the same bits, for tensors that the caches do not hold, in bands that fit."""

from __future__ import annotations

import numpy as np
import pytest

import edgenet
from edgenet.engine import caches
from edgenet.kernels.isa import by_name, host
from edgenet.prepare import band_cache
from edgenet.prepare.band_cache import bands_for_speed
from edgenet.prepare.fusion import fuse
from edgenet.prepare.plan import PARTS_KERNEL
from edgenet.prepare.prepare import prepare
from tests.engine.networks import separable
from tests.prepare.test_arena import check_plan
from tests.prepare.test_bands import images, in_bands, network

CACHE = {"float32": 100_000, "int8": 25_000}


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_lite0"])
def test_the_results_are_the_same(monkeypatch, name: str, precision: str):
    monkeypatch.setattr(band_cache, "STEP_BYTES", 100)
    monkeypatch.setattr(band_cache, "LEAST_BYTES", 0)
    graph = network(name, precision)
    for batch, height, width, threads in ((1, 71, 45, 1), (3, 66, 52, 2)):
        x = images(batch, height, width)
        monkeypatch.setattr(caches, "own_cache", lambda: 0)
        whole = edgenet.load(graph, threads)
        expected = whole.run(x)
        assert not in_bands(whole.plan(x))
        monkeypatch.setattr(caches, "own_cache", lambda: CACHE[precision])
        banded = edgenet.load(graph, threads)
        np.testing.assert_array_equal(banded.run(x), expected)
        plan = banded.plan(x)
        check_plan(plan)
        assert in_bands(plan)
        assert plan.naive_bytes == whole.plan(x).naive_bytes


@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize("size", [21, 23, 27, 30])
def test_parts_of_any_number_of_rows(monkeypatch, size: int, threads: int):
    """The last part may be smaller than those before it, and be a single band where they take two."""
    monkeypatch.setattr(band_cache, "STEP_BYTES", 1)
    monkeypatch.setattr(band_cache, "FLOPS_A_BYTE", 1e9)
    monkeypatch.setattr(band_cache, "LEAST_BYTES", 0)
    graph = separable(channels=32, depth=2, size=size)
    x = np.random.default_rng(size).standard_normal((1, size, size, 32), dtype=np.float32)
    monkeypatch.setattr(caches, "own_cache", lambda: 0)
    expected = edgenet.load(graph, 1).run(x)
    found = 0
    for cache in (50_000, 64_000, 96_000):
        monkeypatch.setattr(caches, "own_cache", lambda cache=cache: cache)
        model = edgenet.load(graph, threads)
        np.testing.assert_array_equal(model.run(x), expected)
        found += in_bands(model.plan(x))
    assert found > 0


@pytest.mark.parametrize(("batch", "threads"), [(2, 1), (3, 2), (4, 2), (6, 3), (5, 5)])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_images_of_a_batch_one_after_the_other(monkeypatch, precision: str, batch: int, threads: int):
    """Each thread has its own where there are as many for all; else threads take parts of each."""
    monkeypatch.setattr(band_cache, "STEP_BYTES", 100)
    monkeypatch.setattr(band_cache, "FLOPS_A_BYTE", 1e9)
    monkeypatch.setattr(band_cache, "LEAST_BYTES", 0)
    graph = network("mobilenet_v2", precision)
    x = images(batch, 45, 38)
    monkeypatch.setattr(caches, "own_cache", lambda: 0)
    expected = edgenet.load(graph, threads).run(x)
    monkeypatch.setattr(caches, "own_cache", lambda: 2 * CACHE[precision])
    model = edgenet.load(graph, threads)
    np.testing.assert_array_equal(model.run(x), expected)
    plan = model.plan(x)
    check_plan(plan)
    chains = {step.chain for step in plan.steps if step.chain is not None}
    together = threads if batch % threads == 0 else 1
    assert {image for _, image in chains} == (set(range(0, batch, together)) if threads > 1 else set())
    assert max(step.part for step in plan.steps) == threads - 1


def chosen(size: int, cache: int, threads: int = 1, batch: int = 1):
    graph = separable(channels=32, depth=2, size=size)
    plan = prepare(graph, {"x": (batch, size, size, 32)}, host(), threads)
    return bands_for_speed(fuse(graph, plan.tensors), plan, cache)


def test_what_the_caches_hold_is_computed_at_once():
    assert chosen(40, 1 << 20) == []


def test_caches_that_hold_an_image_may_not_hold_a_batch():
    assert chosen(36, 1 << 20) == []
    for threads, batch, parts, together in ((1, 8, 1, 1), (2, 8, 1, 2), (2, 9, 2, 1)):
        found = chosen(36, 1 << 20, threads, batch)
        assert found
        assert all((each.bands, each.parts, each.together) == (1, parts, together) for _, each in found)


@pytest.mark.parametrize(("constants", "chains"), [(1 << 16, True), (1 << 20, True), (1 << 24, False)])
def test_constants_that_the_cache_does_not_hold_are_read_for_each_image(monkeypatch, constants: int, chains: bool):
    monkeypatch.setattr(band_cache._Costs, "_constants", lambda costs, segment: constants)
    assert bool(chosen(36, 1 << 20, 1, 8)) == chains
    assert chosen(112, 1 << 20, 1, 1)


def test_a_larger_cache_is_planned_for_like_the_largest_that_counts():
    """The largest of these caches holds two of the tensors of 3.2 MB at once."""
    plans = [[choice for choice, _ in chosen(112, size)] for size in (1 << 20, 2 << 20, 8 << 20)]
    assert plans[0]
    assert plans[0] == plans[1] == plans[2]


def most_in_memory(segment) -> int:
    """Most bytes of a chain's bands that are in use at a node, of `chosen(112, ...)`."""
    row, most = {"project": 112 * 32 * 4, "expand": 112 * 64 * 4, "depthwise": 112 * 64 * 4}, 0
    for band in (band for part in range(segment.parts) for band in segment.schedule(part)):
        rows = [each.count * row[node.node.name.split(".")[1]] for each, node in zip(band, segment.nodes, strict=True)]
        for k in range(len(rows)):
            most = max(most, sum(rows[j] for j in range(k + 1) if segment.lasts(j) >= k))
    return most


def test_bands_fit_the_caches_of_a_thread():
    for threads in (1, 2):
        found = chosen(112, 1 << 20, threads)
        assert found
        for _, segment in found:
            assert segment.bands > 1
            assert segment.parts == threads
            assert most_in_memory(segment) <= 1 << 20


def test_bands_of_one_thread_count_on_more_of_a_large_cache_than_those_of_several():
    alone, team = (max(most_in_memory(segment) for _, segment in chosen(112, 8 << 20, n)) for n in (1, 2))
    assert team < alone <= 1 << 20


def test_a_small_saving_is_not_worth_the_steps(monkeypatch):
    """A tensor of 60 kB more than a cache of 40 kB costs less than a band's steps."""
    monkeypatch.setattr(band_cache, "LEAST_BYTES", 0)
    assert chosen(22, 40_000) == []


def test_little_to_save_leaves_the_plan_as_it_is(monkeypatch):
    assert chosen(112, 1 << 20)
    monkeypatch.setattr(band_cache, "LEAST_BYTES", 1 << 30)
    assert chosen(112, 1 << 20) == []


def small(batch: int, threads: int, size: int = 8):
    """What is chosen for two blocks of 32 channels that every cache holds."""
    graph = separable(channels=32, depth=2, size=size)
    plan = prepare(graph, {"x": (batch, size, size, 32)}, by_name("avx512"), threads)
    return bands_for_speed(fuse(graph, plan.tensors), plan, 1 << 20)


def test_threads_of_a_small_network_take_chains_of_layers():
    """One band for each thread. The more threads, the more rows would be made twice in one long chain."""
    for threads, chains in ((2, [(0, 5)]), (4, [(0, 2), (3, 5)])):
        found = small(1, threads)
        assert [(choice.first, choice.last) for choice, _ in found] == chains
        assert all((segment.parts, segment.bands) == (threads, 1) for _, segment in found)


def test_layers_of_one_thread_of_many_images_and_of_much_arithmetic_are_computed_at_once():
    assert small(1, 1) == []
    assert small(2, 2) == []
    assert small(1, 2, size=32) == []


@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_chains_of_a_small_network_compute_the_same(monkeypatch, precision: str, threads: int):
    monkeypatch.setattr(band_cache, "MEETING_FLOPS", 100_000)
    graph = network("mobilenet_v2", precision)
    x = images(1, 48, 40)
    model = edgenet.load(graph, threads)
    np.testing.assert_array_equal(model.run(x), edgenet.load(graph, 1).run(x))
    plan = model.plan(x)
    check_plan(plan)
    assert PARTS_KERNEL in plan.kernels()

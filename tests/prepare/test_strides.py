"""Pixels at distances that spare the caches: where they are, and that the results stay the same bits."""

from __future__ import annotations

import numpy as np
import pytest

import edgenet
from edgenet.engine import caches
from edgenet.prepare import band_cache
from tests.engine.networks import separable
from tests.prepare.test_arena import check_plan
from tests.prepare.test_bands import in_bands


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("side", "distance"), [(14, 0), (16, 256 + 64), (32, 256 + 64)])
def test_pixels_of_aliasing_rows_lie_apart(monkeypatch, side: int, distance: int, threads: int):
    """At once and by bands; pixels inside blocks take 256 bytes. With memory="low" none lie apart."""
    monkeypatch.setattr(band_cache, "STEP_BYTES", 1)
    monkeypatch.setattr(band_cache, "FLOPS_A_BYTE", 1e9)
    monkeypatch.setattr(band_cache, "LEAST_BYTES", 0)
    graph = separable(channels=32, depth=2, size=side)
    inside = {node.output for node in graph.nodes if not node.name.endswith("project")}
    x = np.random.default_rng(side).standard_normal((3, side, side, 32), dtype=np.float32)
    low = edgenet.load(graph, threads, memory="low")
    expected = low.run(x)
    assert low.plan(x).spread == {}
    banded = []
    for cache in (0, 50_000, 64_000, 96_000):
        monkeypatch.setattr(caches, "own_cache", lambda cache=cache: cache)
        model = edgenet.load(graph, threads)
        np.testing.assert_array_equal(model.run(x), expected)
        plan = model.plan(x)
        check_plan(plan)
        assert plan.spread == (dict.fromkeys(inside, distance) if distance else {})
        banded.append(in_bands(plan))
    assert not banded[0]
    assert any(banded)


@pytest.mark.parametrize(("side", "distance"), [(32, 128 + 64), (64, 128)])
def test_an_image_grows_by_half_only_where_it_stays_in_the_cache(side: int, distance: int):
    """Rows of both images alias; their pixels take 128 bytes."""
    model = edgenet.load(separable(channels=16, depth=1, size=side), 1)
    assert model.plan(np.zeros((1, side, side, 16), np.float32)).spread.get("block0.expand", 128) == distance


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("channels", "side", "wide"),
    [
        (36, 10, 288 + 32),
        (60, 10, 480 + 32 + 64),
        (20, 10, 160 + 32),
        (12, 10, 96),
        (36, 64, 288),
    ],
)
def test_pixels_are_filled_up_to_whole_registers_where_that_adds_little(
    channels: int, side: int, wide: int, threads: int
):
    """Inside blocks there are twice as many channels; `wide`: the distance where a register is a cache line.

    All are whole registers of eight channels. Rows of 64 pixels of 320 bytes would alias.
    """
    graph = separable(channels=channels, depth=2, size=side)
    model = edgenet.load(graph, threads)
    x = np.random.default_rng(channels).standard_normal((2, side, side, channels), dtype=np.float32)
    plan = model.plan(x)
    check_plan(plan)
    register, dense = model.target.lanes * 4, 8 * channels
    distance = wide if register == 64 else dense
    assert plan.spread.get("block0.expand", dense) == distance
    np.testing.assert_array_equal(model.run(x), edgenet.load(graph, threads, memory="low").run(x))

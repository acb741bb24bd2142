"""Chains whose parts threads compute each on its own."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

import edgenet
from edgenet.engine import caches
from edgenet.engine.cache import load_kernels
from edgenet.engine.link import link
from edgenet.engine.loader import ENTRY_TYPE
from edgenet.engine.program import STEP_WORDS, Context
from edgenet.graph import Graph
from edgenet.kernels.isa import host
from edgenet.prepare.plan import PARTS_KERNEL
from edgenet.prepare.prepare import prepare
from tests.engine.networks import separable
from tests.kernels.harness import execute

CACHE = 1 << 19
SIZE = 80


@pytest.fixture
def graph(monkeypatch) -> Graph:
    """A network with tensors larger than the caches, which this machine pretends to have."""
    monkeypatch.setattr(caches, "own_cache", lambda: CACHE)
    return separable(channels=32, depth=2, size=SIZE)


def test_parts_do_not_depend_on_each_other(graph):
    """Backwards, on one thread, they give the same bits; between their steps nobody waits.

    They are an image each for two threads, rows of each image for three.
    """
    x = np.random.default_rng(0).standard_normal((2, SIZE, SIZE, 32), dtype=np.float32)
    whole, _ = execute(graph, {"x": x}, host())
    for threads, each in ((2, 1), (3, 2)):
        plan = prepare(graph, {"x": x.shape}, host(), threads, cache=CACHE)
        turns = plan.turns()
        chains = [turn for turn in turns if plan.steps[turn[0]].chain is not None]
        assert len(chains) == each * len({plan.steps[turn[0]].layer for turn in chains})
        assert all({plan.steps[index].part for index in turn} == set(range(threads)) for turn in chains)
        context = Context(link(plan, load_kernels(plan.kernels(), host())))
        outputs = context.outputs()
        context.attach([x], outputs)
        assert len(context.records) == len(turns) * STEP_WORDS
        for kernel, units, _, slots, *_ in context.records.reshape(-1, STEP_WORDS).tolist():
            for unit in reversed(range(units)):
                ENTRY_TYPE(kernel)(ctypes.c_void_p(slots), unit, unit + 1, 0)
        np.testing.assert_array_equal(outputs[0], whole[graph.outputs[0]])


@pytest.mark.parametrize("threads", [2, 3])
def test_a_team_gives_the_same_bits_each_time(graph, threads: int):
    x = np.random.default_rng(1).standard_normal((1, SIZE, SIZE, 32), dtype=np.float32)
    expected = edgenet.load(graph, 1).run(x)
    model = edgenet.load(graph, threads)
    assert any(step.chain for step in model.plan().steps)
    for _ in range(8):
        np.testing.assert_array_equal(model.run(x), expected)


def test_the_profile_has_one_row_for_a_chain(graph):
    model = edgenet.load(graph, 2)
    plan, profile = model.plan(), model.profile(repeats=1)
    chains = [turn for turn in plan.turns() if plan.steps[turn[0]].chain is not None]
    rows = [row for row in profile.rows if row["kernel"] == PARTS_KERNEL]
    assert len(rows) == len(chains) > 0
    for row, turn in zip(rows, chains, strict=True):
        steps = [plan.steps[index] for index in turn]
        assert row["name"] == f"{steps[0].node} to {steps[-1].node}"
        assert row["flops"] == sum(step.flops for step in steps)
        assert row["ms"] > 0

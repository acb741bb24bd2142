"""The thread team: late workers, many models, callers at the same time, counters that run full."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

import edgenet
from edgenet.engine import program
from edgenet.engine.team import team
from edgenet.kernels.isa import host
from edgenet.memory import address_of
from tests.engine.networks import separable


@pytest.fixture(scope="module")
def graph():
    return separable()


def _expected(graph) -> tuple[np.ndarray, np.ndarray]:
    model = edgenet.load(graph, threads=1)
    x = next(iter(model.example_inputs().values()))
    return x, model.run(x)


def _hammer(graph, x: np.ndarray, y: np.ndarray, seed: int, failures: list[str]) -> None:
    rng = np.random.default_rng(seed)
    model = edgenet.load(graph, threads=2)
    for turn in range(150):
        if rng.random() < 0.1:
            model = edgenet.load(graph, threads=int(rng.integers(2, 5)))
        if rng.random() < 0.1:
            model.close()
        if not np.array_equal(model.run(x), y):
            failures.append(f"caller {seed}, turn {turn}")


def test_models_come_and_go_while_others_run(graph):
    x, y = _expected(graph)
    failures: list[str] = []
    callers = [threading.Thread(target=_hammer, args=(graph, x, y, seed, failures)) for seed in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not failures


def test_one_core_for_all_threads(graph):
    x, y = _expected(graph)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        model = edgenet.load(graph, threads=4)
        for _ in range(100):
            assert np.array_equal(model.run(x), y)
    finally:
        os.sched_setaffinity(0, allowed)


def test_the_last_epoch_is_followed_by_the_first(graph):
    x, y = _expected(graph)
    model = edgenet.load(graph, threads=2)
    assert np.array_equal(model.run(x), y)
    [prepared] = model._prepared.values()
    [context] = prepared.idle
    context._epoch = program._LAST_EPOCH - 1
    for _ in range(3):
        assert np.array_equal(model.run(x), y)
    assert context._epoch == 2


def test_steps_end_when_their_work_does_whoever_comes_by_later(graph):
    """A worker that computes all steps before the caller comes has taken their times; the caller leaves them alone."""
    x, _ = _expected(graph)
    model = edgenet.load(graph, threads=2)
    model.run(x)
    [prepared] = model._prepared.values()
    [context] = prepared.idle
    outputs = context.outputs()
    context.attach([x], outputs)
    found = team(host())
    stamps = np.zeros((context.program.steps + 1, 2), np.int64)
    record = found.record(address_of(context.records), context.program.steps, address_of(stamps))
    context._epoch += 1
    record.words[found._epoch_slot], record.words[found._threads_slot] = context._epoch, 2
    found._entry(record.address, record.address, 0, 1)
    moments = stamps[1:, 0] * 1e9 + stamps[1:, 1]
    assert (np.diff(moments) > 0).all()
    assert moments[0] > 0
    before = stamps[1:].copy()
    found._entry(record.address, record.address, 0, 0)
    found.settle(record)
    np.testing.assert_array_equal(stamps[1:], before)
    assert stamps[0, 0] * 1e9 + stamps[0, 1] > moments[-1]


def test_profiles_and_runs_take_turns(graph):
    x, y = _expected(graph)
    model = edgenet.load(graph, threads=2)
    for _ in range(5):
        assert model.profile(x, repeats=2).total_ms > 0
        assert np.array_equal(model.run(x), y)

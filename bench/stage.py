"""The steps of some nodes of a graph, run by themselves and again and again: what a layer takes without the rest."""

from __future__ import annotations

import time
from collections.abc import Collection

import numpy as np

from edgenet.engine.cache import load_kernels
from edgenet.engine.link import link
from edgenet.engine.profile import step_milliseconds
from edgenet.engine.program import LINE_WORDS, STEP_WORDS, Context
from edgenet.engine.team import Record, team
from edgenet.graph import Graph
from edgenet.kernels.isa import host
from edgenet.memory import address_of, aligned_words, working_memory
from edgenet.prepare.prepare import prepare

PASS_SECONDS = 2e-3
"""A measurement repeats the steps until it lasts so long."""
_MOST_PASSES = 1 << 12
_SHORT_SECONDS = 2e-2
"""Longer passes fill the caches by themselves, whatever ran before them."""
_HUGE, _OFFSET = 256 << 10, 320
"""Inputs lie as activations do inside of an arena: in huge pages, and not where another buffer's pages begin."""


def random_values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Normal numbers in float32, all values alike in int8."""
    if dtype == "int8":
        return rng.integers(-127, 128, shape, np.int8)
    return rng.standard_normal(shape, np.float32)


class Stage:
    """The steps of the nodes named `nodes` of a graph, on random inputs of the declared shapes, batch 1.

    The whole graph runs once, so that the steps find what they read; then `run` repeats the chosen ones `passes` times
    (None: as often as PASS_SECONDS wants).
    `winograd` as in `edgenet.load`.
    """

    def __init__(
        self, graph: Graph, nodes: Collection[str], threads: int, winograd: bool = False, passes: int | None = None
    ):
        target, rng = host(), np.random.default_rng(0)
        shapes = {name: graph.tensors[name].concrete(1) for name in graph.inputs}
        plan = prepare(graph, shapes, target, threads, winograd=winograd)
        self._context = Context(link(plan, load_kernels(plan.kernels(), target)))
        self._inputs = {}
        for name, shape in shapes.items():
            values = random_values(rng, shape, graph.tensors[name].dtype)
            memory = working_memory(values.nbytes + _HUGE)[_OFFSET : _OFFSET + values.nbytes]
            self._inputs[name] = memory.view(values.dtype).reshape(shape)
            self._inputs[name][...] = values
        self._outputs = self._context.outputs()
        self._context.attach(list(self._inputs.values()), self._outputs)
        self._team, self._threads = team(target), threads
        self._context.run(self._team)
        chosen = [index for index, step in enumerate(plan.steps) if step.node in nodes]
        self.steps = [plan.steps[index] for index in chosen]
        self.plan = plan
        self._words = self._context.records.reshape(-1, STEP_WORDS)[chosen]
        self._short = True
        self._repeat(1)
        taken = max(self.milliseconds() / 1e3, 1e-7)
        self._short = taken < _SHORT_SECONDS
        self._repeat(passes or max(1, min(_MOST_PASSES, int(PASS_SECONDS / taken))))

    def _repeat(self, passes: int) -> None:
        self.passes, count = passes, passes * len(self.steps)
        self._records = aligned_words(STEP_WORDS * count)
        records = self._records.reshape(-1, STEP_WORDS)
        records[...] = np.tile(self._words, (passes, 1))
        words = LINE_WORDS * (self._threads + 1)
        self._counters = aligned_words(words * count)
        records[:, 4] = address_of(self._counters) + np.arange(count) * words * 8
        self._epoch = 0
        self._record = self._team.record(address_of(self._records), count)
        self._stamps = np.zeros((count + 1, 2), np.int64)
        self._stamped = self._team.record(address_of(self._records), count, address_of(self._stamps))

    def run(self) -> None:
        """`passes` runs of the steps in turn."""
        self._run(self._record)

    def _run(self, record: Record) -> None:
        self._epoch += 1
        self._team.run(record, self._threads, self._epoch, self)

    def milliseconds(self) -> float:
        """Time of one pass over the steps, from one measurement; a short one starts with warm caches."""
        if self._short:
            self.run()
        started = time.perf_counter()
        self.run()
        return (time.perf_counter() - started) * 1e3 / self.passes

    def shares(self) -> dict[str, float]:
        """Share of a pass that the steps of each node take, from one measurement."""
        if self._short:
            self.run()
        self._run(self._stamped)
        durations = step_milliseconds(self._stamps).reshape(self.passes, -1)
        found: dict[str, float] = {}
        for step, taken in zip(self.steps, np.median(durations, axis=0).tolist(), strict=True):
            found[step.node] = found.get(step.node, 0.0) + taken
        total = sum(found.values()) or 1.0
        return {node: taken / total for node, taken in found.items()}

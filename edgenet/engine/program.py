"""A plan bound to memory and machine code: the arrays that the executor walks. One context serves one run at a time."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgenet.engine.loader import ENTRY_TYPE, LoadedKernel
from edgenet.engine.memory import address_of, aligned_words, working_memory
from edgenet.errors import EngineError
from edgenet.graph import DTYPES
from edgenet.prepare.plan import Operand, Packed, Plan, Scratch, Step

if TYPE_CHECKING:
    from edgenet.engine.team import Record, Team

STEP_WORDS = 8
LINE_WORDS = 8
_MOST_UNITS = 1 << 30
_LAST_EPOCH = (1 << 33) - 1
"""What the counters of the executor hold (see kernels.executor)."""


def _bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


class Context:
    """Arena, slots and step records of one plan. Not for two runs at once."""

    def __init__(self, plan: Plan, kernels: Mapping[str, LoadedKernel]):
        self.plan = plan
        self._results = [(name, plan.tensors[name].shape, DTYPES[plan.tensors[name].dtype]) for name in plan.outputs]
        self._team: Team | None = None
        self._times = 0
        self._epoch = 0
        self._record: Record | None = None
        self._arena = working_memory(plan.arena_bytes + 128)
        self._base = address_of(self._arena)
        self._keep = [kernels[step.kernel] for step in plan.steps]
        self._patches: dict[str, list[tuple[int, int]]] = {}
        places, total = [], 0
        for step in plan.steps:
            places.append(total)
            total += -(-max(len(step.slots), 1) // LINE_WORDS) * LINE_WORDS
        self.slots = aligned_words(total)
        self._slots = self.slots.data
        self._counter_words = LINE_WORDS * (plan.threads + 1)
        self.counters = aligned_words(self._counter_words * max(len(plan.steps), 1))
        self.records = aligned_words(STEP_WORDS * max(len(plan.steps), 1))
        for index, (step, place) in enumerate(zip(plan.steps, places, strict=True)):
            self._bind(index, step, place, kernels[step.kernel])

    def _bind(self, index: int, step: Step, place: int, kernel: LoadedKernel) -> None:
        if set(step.slots) != set(kernel.slots):
            wrong = set(step.slots) ^ set(kernel.slots)
            raise EngineError(f"{step.node}: the slots {sorted(wrong)} do not match the kernel {kernel.name}.")
        scratch = self._base + self.plan.scratch_offset
        for i, (name, kind) in enumerate(kernel.slots.items()):
            value = step.slots[name]
            if kind == "float":
                if not isinstance(value, int | float | np.floating):
                    raise EngineError(f"{step.node}: slot {name} of {kernel.name} is a float.")
                word = _bits(float(value))
            elif isinstance(value, Operand):
                word = self._address(value, place + i)
            elif isinstance(value, Packed):
                word = value.array.ctypes.data
            elif isinstance(value, Scratch):
                word = scratch
                scratch += value.bytes_per_thread * self.plan.threads
            elif isinstance(value, int | np.integer):
                word = int(value)
            else:
                raise EngineError(f"{step.node}: slot {name} of {kernel.name} is an integer.")
            self.slots[place + i] = word
        if step.units + step.grain > _MOST_UNITS:
            raise EngineError(f"{step.node}: {step.units} units of work are too many.")
        record = self.records[index * STEP_WORDS :]
        record[0], record[1], record[2] = kernel.address, step.units, step.grain
        record[3] = self.slots.ctypes.data + place * 8
        record[4] = self.counters.ctypes.data + index * self._counter_words * 8

    def _address(self, operand: Operand, place: int) -> int:
        root = self.plan.root[operand.tensor]
        placement = self.plan.placements[root]
        if placement.kind == "arena":
            return self._base + placement.offset + operand.offset
        self._patches.setdefault(root, []).append((place, operand.offset))
        return 0

    def attach(self, name: str, address: int) -> None:
        """Set the memory of an input's or output's buffer (its root tensor)."""
        slots = self._slots
        for place, offset in self._patches.get(name, ()):
            slots[place] = address + offset

    def outputs(self) -> dict[str, np.ndarray]:
        """New arrays for the graph's outputs."""
        return {name: np.empty(shape, dtype) for name, shape, dtype in self._results}

    def attach_all(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Let the steps read and write these arrays, which must stay alive until the run is over."""
        for name, array in inputs.items():
            self.attach(name, address_of(array))
        for name in reversed(tuple(outputs)):
            self.attach(self.plan.root[name], address_of(outputs[name]))

    def copy_shared(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Fill outputs that are views of an input or of another output, which own no step."""
        owners: dict[str, str] = {}
        for name, array in outputs.items():
            root = self.plan.root[name]
            if root in inputs:
                array[...] = inputs[root].reshape(array.shape)
            elif root in owners:
                array[...] = outputs[owners[root]].reshape(array.shape)
            owners[root] = owners.get(root, name)

    def run(self, team: Team, times: int = 0) -> None:
        """Run all steps on the team's threads. Inputs and outputs are attached.

        `times`: address that receives a timespec before the first step and after each.
        """
        record = self._record
        if record is None or self._team is not team or self._times != times:
            if record is not None and self._team is not None:
                self._team.settle(record)
            self._team, self._times = team, times
            record = self._record = team.record(self.records.ctypes.data, len(self.plan.steps), times)
        if self._epoch == _LAST_EPOCH:
            team.settle(record)
            self.counters[:] = 0
            self._epoch = 0
        self._epoch += 1
        team.run(record, self.plan.threads, self._epoch, self)

    def run_stepwise(self) -> None:
        """Run every step on the calling thread, one call at a time. For tests: no executor, no team."""
        for index, step in enumerate(self.plan.steps):
            record = self.records[index * STEP_WORDS :]
            ENTRY_TYPE(int(record[0]))(ctypes.c_void_p(int(record[3])), 0, step.units, 0)

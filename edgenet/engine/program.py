"""A linked plan in memory: the words that the executor walks. One context serves one run at a time."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgenet.dtypes import DTYPES
from edgenet.engine.loader import ENTRY_TYPE
from edgenet.engine.memory import address_of, aligned_words, working_memory

if TYPE_CHECKING:
    from edgenet.engine.team import Record, Team

STEP_WORDS = 8
LINE_WORDS = 8
_LAST_EPOCH = (1 << 33) - 1
"""What the counters of the executor hold (see kernels.executor)."""
OWN, ARENA, OTHERS = 0, 1, 2
"""Numbers of bases: the program's own words, the arena, and the first of the constants, which kernels follow."""


class Port(NamedTuple):
    """An output of the network, and the buffer (root tensor) it shares."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    root: str


class Program(NamedTuple):
    """A plan as words without addresses: what each step's kernel reads, then the step records.

    A step is one of the plan's, or a chain of them, whose units are its parts (see kernels.executor.run_parts).

    To the words at `places` belong the addresses of `bases` (see OWN), plus `offsets`. `patches` are the words that
    hold the addresses of the caller's buffers: root tensor -> (place, offset). Counters follow the words.
    """

    threads: int
    steps: int
    arena_bytes: int
    words: np.ndarray
    counters: int
    places: np.ndarray
    bases: np.ndarray
    offsets: np.ndarray
    patches: dict[str, list[tuple[int, int]]]
    outputs: list[Port]


class Linked(NamedTuple):
    """A program with the addresses of its constants and kernels, and what owns their memory."""

    program: Program
    addresses: list[int]
    owners: Any


class Context:
    """Arena, slots and step records of one program. Not for two runs at once."""

    def __init__(self, linked: Linked):
        self.program = program = linked.program
        self._results = [(port.name, port.shape, DTYPES[port.dtype]) for port in program.outputs]
        self._roots = {port.name: port.root for port in program.outputs}
        self._buffers = set(self._roots.values())
        self._team: Team | None = None
        self._times = 0
        self._epoch = 0
        self._record: Record | None = None
        self._arena = working_memory(program.arena_bytes + 128)
        self._owners = linked.owners
        size = len(program.words)
        memory = aligned_words(size + program.counters)
        memory[:size] = program.words
        self.counters = memory[size:]
        self.records = memory[size - program.steps * STEP_WORDS : size]
        addresses = np.array([address_of(memory), address_of(self._arena), *linked.addresses], np.int64)
        memory[program.places] = addresses[program.bases] + program.offsets
        self._words = memory.data

    def attach(self, name: str, address: int) -> None:
        """Set the memory of an input's or output's buffer (its root tensor)."""
        for place, offset in self.program.patches.get(name, ()):
            self._words[place] = address + offset

    def outputs(self) -> dict[str, np.ndarray]:
        """New arrays for the graph's outputs."""
        return {name: np.empty(shape, dtype) for name, shape, dtype in self._results}

    def attach_all(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Let the steps read and write these arrays, which must stay alive until the run is over."""
        for name, array in inputs.items():
            self.attach(name, address_of(array))
        for name in reversed(tuple(outputs)):
            self.attach(self._roots[name], address_of(outputs[name]))

    def copy_shared(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Fill outputs that are views of an input or of another output, which own no step."""
        if len(self._buffers) == len(outputs) and self._buffers.isdisjoint(inputs):
            return
        owners: dict[str, str] = {}
        for name, array in outputs.items():
            root = self._roots[name]
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
            record = self._record = team.record(self.records.ctypes.data, self.program.steps, times)
        if self._epoch == _LAST_EPOCH:
            team.settle(record)
            self.counters[:] = 0
            self._epoch = 0
        self._epoch += 1
        team.run(record, self.program.threads, self._epoch, self)

    def run_stepwise(self) -> None:
        """Run every step on the calling thread, one call at a time. For tests: no executor, no team."""
        for kernel, units, _, slots, *_ in self.records.reshape(-1, STEP_WORDS).tolist():
            ENTRY_TYPE(kernel)(ctypes.c_void_p(slots), 0, units, 0)

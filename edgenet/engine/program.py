"""A linked plan in memory: the words that the executor walks. One context serves one run at a time."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgenet.dtypes import DTYPES
from edgenet.engine.loader import ENTRY_TYPE
from edgenet.errors import InputError
from edgenet.memory import address_of, aligned_words, working_memory

if TYPE_CHECKING:
    from edgenet.engine.team import Record, Team

STEP_WORDS = 8
INPUT_WORDS = 4
LINE_WORDS = 8
_LAST_EPOCH = (1 << 33) - 1
"""What the counters of the executor hold (see kernels.executor)."""
OWN, ARENA, OTHERS = 0, 1, 2
"""Numbers of bases: the program's own words, the arena, and the first of the constants, which kernels follow."""


class Port(NamedTuple):
    """An input or output of the network, and the buffer (root tensor) it shares."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    root: str


class Program(NamedTuple):
    """A plan as words without addresses: the records of inputs (see kernels.executor), what each step's kernel reads,
    then the step records.

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
    inputs: list[Port]
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
        self._results = [(port.shape, DTYPES[port.dtype]) for port in program.outputs]
        self._verdicts = [(INPUT_WORDS * i + INPUT_WORDS - 1, port.name) for i, port in enumerate(program.inputs)]
        roots = [port.root for port in (*program.inputs, *program.outputs)]
        self._sources = [roots.index(root) for root in roots]
        self._shared = len(set(roots)) < len(roots)
        self._threads = program.threads
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
        self._input_records = address_of(memory)
        self._patches = [
            program.patches.get(root, []) if source == i else []
            for i, (root, source) in enumerate(zip(roots, self._sources, strict=True))
        ]

    def outputs(self) -> list[np.ndarray]:
        """New arrays for the graph's outputs, in order."""
        outputs = []
        for shape, dtype in self._results:  # a comprehension is a call, and comes from cold caches
            outputs.append(np.empty(shape, dtype))
        return outputs

    def attach(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Let the steps read and write these arrays, in order, which must stay alive until the run is over."""
        for i, array in enumerate((*inputs, *outputs)):
            address = address_of(array)
            for place, offset in self._patches[i]:
                self._words[place] = address + offset

    def compute(self, team: Team, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for these inputs, both in order. Raises InputError where an input holds NaN."""
        outputs = self.outputs()
        self.attach(inputs, outputs)
        self.run(team)
        if self._shared:
            self._copy_shared([*inputs, *outputs])
        return outputs

    def _copy_shared(self, arrays: list[np.ndarray]) -> None:
        """Fill outputs that are views of an input or of another output, which own no step."""
        for array, source in zip(arrays, self._sources, strict=True):
            if arrays[source] is not array:
                array[...] = arrays[source].reshape(array.shape)

    def run(self, team: Team, times: int = 0) -> None:
        """Run all steps on the team's threads. Inputs and outputs are attached.

        `times`: address that receives a timespec before the first step and after each. Raises InputError where an input
        holds NaN.
        """
        record = self._record
        if record is None or self._team is not team or self._times != times:
            record = self._renewed(team, times)
        if self._epoch == _LAST_EPOCH:
            team.settle(record)
            self.counters[:] = 0
            self._epoch = 0
        self._epoch += 1
        team.run(record, self._threads, self._epoch, self)
        for place, name in self._verdicts:
            if self._words[place]:
                self._words[place] = 0
                raise InputError(f"Input {name} contains NaN.")

    def _renewed(self, team: Team, times: int) -> Record:
        """A run record for this team and these times."""
        if self._record is not None and self._team is not None:
            self._team.settle(self._record)
        self._team, self._times = team, times
        steps = self.records.ctypes.data
        self._record = team.record(steps, self.program.steps, times, self._input_records, len(self._verdicts))
        return self._record

    def run_stepwise(self) -> None:
        """Run every step on the calling thread, one call at a time. For tests: no executor, no team."""
        for kernel, units, _, slots, *_ in self.records.reshape(-1, STEP_WORDS).tolist():
            ENTRY_TYPE(kernel)(ctypes.c_void_p(slots), 0, units, 0)

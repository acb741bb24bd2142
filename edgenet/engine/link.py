"""From a plan to a program: slots in the order of their kernels, every address as an offset from a base."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgenet.engine.loader import LoadedKernel
from edgenet.engine.program import ARENA, INPUT_WORDS, LINE_WORDS, OTHERS, OWN, STEP_WORDS, Linked, Port, Program
from edgenet.errors import EngineError
from edgenet.memory import address_of
from edgenet.prepare.plan import PARTS_KERNEL, Operand, Packed, Plan, Scratch, Step

_MOST_UNITS = 1 << 30


def link(plan: Plan, kernels: Mapping[str, LoadedKernel]) -> Linked:
    """The plan's program, with the addresses of its packed constants and kernels.

    `owners` of the result are the constants, then the kernels, in the order of their addresses.
    Raises EngineError when a step does not fit its kernel.
    """
    return _Linker(plan, kernels).linked()


class _Linker:
    def __init__(self, plan: Plan, kernels: Mapping[str, LoadedKernel]):
        self.plan, self.kernels = plan, kernels
        self.relocations: list[tuple[int, int, int]] = []
        self.patches: dict[str, list[tuple[int, int]]] = {}
        packed = (v.array for step in plan.steps for v in step.slots.values() if isinstance(v, Packed))
        self.constants = list({id(array): array for array in packed}.values())
        self.base_of = {id(array): OTHERS + i for i, array in enumerate(self.constants)}
        self.used = sorted(plan.kernels())
        self.kernel_base = {name: OTHERS + len(self.constants) + i for i, name in enumerate(self.used)}

    def linked(self) -> Linked:
        plan, tensors = self.plan, self.plan.tensors
        slots = self._inputs()
        places = []
        turns = [[plan.steps[index] for index in turn] for turn in plan.turns()]
        for turn in turns:
            places.append(len(slots))
            slots += self._slots(turn[0], len(slots)) if turn[0].chain is None else self._parts(turn, len(slots))
        records: list[int] = []
        first, end = len(slots), len(slots) + STEP_WORDS * len(turns)
        counters = LINE_WORDS * (plan.threads + 1)
        for index, (turn, place) in enumerate(zip(turns, places, strict=True)):
            step = turn[0]
            kernel, units, grain = step.kernel, step.units, step.grain
            if step.chain is not None:
                kernel, units, grain = PARTS_KERNEL, turn[-1].part + 1, 1
            if units + grain > _MOST_UNITS:
                raise EngineError(f"{step.node}: {units} units of work are too many.")
            here = first + len(records)
            self.relocations += [
                (here, self.kernel_base[kernel], 0),
                (here + 3, OWN, place * 8),
                (here + 4, OWN, (end + index * counters) * 8),
            ]
            records += [0, units, grain, *[0] * (STEP_WORDS - 3)]
        table = np.array(self.relocations, np.int64).reshape(-1, 3)
        program = Program(
            threads=plan.threads,
            steps=len(turns),
            arena_bytes=plan.arena_bytes,
            words=np.array(slots + records, np.int64),
            counters=counters * max(len(turns), 1),
            places=table[:, 0].copy(),
            bases=table[:, 1].copy(),
            offsets=table[:, 2].copy(),
            patches=self.patches,
            inputs=[Port(name, tensors[name].shape, tensors[name].dtype, plan.root[name]) for name in plan.inputs],
            outputs=[Port(name, tensors[name].shape, tensors[name].dtype, plan.root[name]) for name in plan.outputs],
        )
        kernels = [self.kernels[name] for name in self.used]
        addresses = [*map(address_of, self.constants), *(kernel.address for kernel in kernels)]
        return Linked(program, addresses, (self.constants, kernels))

    def _inputs(self) -> list[int]:
        """The words of the records of inputs, from place 0 on, in whole cache lines."""
        words: list[int] = []
        for name in self.plan.inputs:
            here, tensor = len(words), self.plan.tensors[name]
            self._operand(Operand(name), here)
            self.relocations.append((here + INPUT_WORDS - 2, OWN, (here + INPUT_WORDS - 1) * 8))
            words += [0, math.prod(tensor.shape) if tensor.dtype == "float32" else 0, 0, 0]
        return words + [0] * (-len(words) % LINE_WORDS)

    def _parts(self, steps: list[Step], place: int) -> list[int]:
        """The words of a chain from `place` on: the slot of `run_parts`, its table, the records, and their slots."""
        count = steps[-1].part + 1
        words = [0] * LINE_WORDS
        table, records = place + len(words), place + len(words) + 2 * count
        self.relocations.append((place, OWN, table * 8))
        words += [0] * (2 * count + 3 * len(steps))
        words += [0] * (-len(words) % LINE_WORDS)
        for number, step in enumerate(steps):
            entry, here = LINE_WORDS + 2 * step.part, records + 3 * number
            if words[entry + 1] == 0:
                self.relocations.append((place + entry, OWN, here * 8))
            words[entry + 1] += 1
            self.relocations += [(here, self.kernel_base[step.kernel], 0), (here + 2, OWN, (place + len(words)) * 8)]
            words[here - place + 1] = step.units
            words += self._slots(step, place + len(words))
        return words

    def _slots(self, step: Step, place: int) -> list[int]:
        """The words of a step's slots, which begin at `place`, in whole cache lines."""
        kernel = self.kernels[step.kernel]
        if set(step.slots) != set(kernel.slots):
            wrong = set(step.slots) ^ set(kernel.slots)
            raise EngineError(f"{step.node}: the slots {sorted(wrong)} do not match the kernel {kernel.name}.")
        words = [0] * (-(-max(len(kernel.slots), 1) // LINE_WORDS) * LINE_WORDS)
        for i, (name, kind) in enumerate(kernel.slots.items()):
            value = step.slots[name]
            if kind == "float":
                if not isinstance(value, int | float | np.floating):
                    raise EngineError(f"{step.node}: slot {name} of {kernel.name} is a float.")
                words[i] = int(np.float32(value).view(np.uint32))
            elif isinstance(value, Operand):
                self._operand(value, place + i)
            elif isinstance(value, Packed):
                self.relocations.append((place + i, self.base_of[id(value.array)], 0))
            elif isinstance(value, Scratch):
                self.relocations.append((place + i, ARENA, self.plan.scratch_offset))
            elif isinstance(value, int | np.integer):
                words[i] = int(value)
            else:
                raise EngineError(f"{step.node}: slot {name} of {kernel.name} is an integer.")
        return words

    def _operand(self, operand: Operand, place: int) -> None:
        root = self.plan.root[operand.tensor]
        placement = self.plan.placements[root]
        if placement.kind == "arena":
            self.relocations.append((place, ARENA, placement.offset + operand.offset))
        else:
            self.patches.setdefault(root, []).append((place, operand.offset))

"""Plan: what the engine runs. Steps with their kernels and slots, where each tensor lies. Pure data, no addresses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from edgenet.graph import Tensor
from edgenet.kernels.isa import InstructionSet

PARTS_KERNEL = "run_parts"
"""The kernel whose unit is a part of a chain: it runs the part's steps one after the other."""


class Operand(NamedTuple):
    """The address of a tensor, plus `offset` bytes."""

    tensor: str
    offset: int = 0
    write: bool = False


class Packed(NamedTuple):
    """The address of constant data: weights packed for a kernel, tables. The array is C-contiguous."""

    array: np.ndarray


class Scratch(NamedTuple):
    """The address of scratch memory, of which the step needs `bytes_per_thread`.

    Thread t's lies t * `scratch_bytes` behind it: a slot of the kernel that is the same in all steps of a plan, so that
    each thread keeps its own.
    """

    bytes_per_thread: int


Value = int | float | Operand | Packed | Scratch


@dataclass(eq=False)
class Step:
    """One kernel call: `units` of work, handed out `grain` at a time, with the values of the kernel's slots by name.

    `layer`: the node's place in the graph and the step's place in the node, -1 if it moves rows between bands; bands of
    one layer share it. `chain`: the chain and (first) image that the step belongs to if parts of these, or images, are
    shared out to threads; `part`: which of them.
    """

    kernel: str
    units: int
    grain: int
    slots: dict[str, Value]
    node: str = ""
    operation: str = ""
    output: str = ""
    flops: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    vector: bool = True
    layer: tuple[int, int] = (0, 0)
    chain: tuple[int, int] | None = None
    part: int = 0

    def operands(self) -> list[Operand]:
        """The tensors the step touches."""
        return [value for value in self.slots.values() if isinstance(value, Operand)]


class Placement(NamedTuple):
    """Where a buffer lies: in the arena at `offset`, or in the caller's input or output array."""

    kind: str
    offset: int
    size: int


@dataclass(eq=False, repr=False)
class Plan:
    """A graph prepared for one instruction set, number of threads and input shapes.

    `root` maps every tensor to the buffer it shares; `placements` locates buffers. `arena_bytes` is the planned peak of
    all activations and scratch, `naive_bytes` what one buffer for each tensor would take. `spread` holds the bytes from
    pixel to pixel of tensors that are not dense.
    """

    target: InstructionSet
    threads: int
    steps: list[Step]
    tensors: dict[str, Tensor]
    inputs: list[str]
    outputs: list[str]
    root: dict[str, str] = field(default_factory=dict)
    placements: dict[str, Placement] = field(default_factory=dict)
    lifetimes: dict[str, tuple[int, int]] = field(default_factory=dict)
    arena_bytes: int = 0
    naive_bytes: int = 0
    weights_bytes: int = 0
    scratch_offset: int = 0
    spread: dict[str, int] = field(default_factory=dict)

    def turns(self) -> list[list[int]]:
        """What threads do between two meetings, as indices of steps: one step, or all steps of a chain's parts."""
        found: list[list[int]] = []
        for index, step in enumerate(self.steps):
            if step.chain is not None and found and self.steps[found[-1][0]].chain == step.chain:
                found[-1].append(index)
            else:
                found.append([index])
        return found

    def kernels(self) -> set[str]:
        """Names of the kernels that running the plan takes, besides the executor."""
        found = {step.kernel for step in self.steps}
        return found | {PARTS_KERNEL} if any(step.chain for step in self.steps) else found

    def layers(self) -> list[list[int]]:
        """The indices of each layer's steps: those of its kernels, again for every band of rows."""
        found: dict[int, list[int]] = {}
        for index, step in enumerate(self.steps):
            found.setdefault(step.layer[0], []).append(index)
        return list(found.values())

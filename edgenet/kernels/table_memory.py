"""Rows of the kernel table: everything that moves, combines or reduces elements."""

from __future__ import annotations

from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table import Kernel


def rows(target: InstructionSet) -> list[Kernel]:
    """The kernels of this family for an instruction set."""
    return []

"""Rows of the kernel table: int8 convolutions, depthwise convolutions and linear layers."""

from __future__ import annotations

from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table import Kernel


def rows(target: InstructionSet) -> list[Kernel]:
    """The kernels of this family for an instruction set."""
    return []

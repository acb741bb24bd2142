"""Rows of the kernel table: everything that moves, combines or reduces elements."""

from __future__ import annotations

from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table import Kernel

INTERLEAVED = (2, 3, 4)
"""Numbers of planes that have a kernel of their own; others are transposed."""


def _movement() -> list[Kernel]:
    return [
        Kernel("any_copy", "movement", "copy", operation="copy", dtype="any"),
        Kernel("any_pad", "movement", "pad", operation="pad", dtype="any"),
        Kernel("any_gather", "movement", "gather_pixels", operation="resize", dtype="any"),
        Kernel("f32_transpose", "movement", "transpose", (4,), "permute"),
        Kernel("s8_transpose", "movement", "transpose", (1,), "permute", "int8"),
        *(Kernel(f"f32_interleave{k}", "movement", "interleave_planes", (4, k), "permute") for k in INTERLEAVED),
        *(Kernel(f"s8_interleave{k}", "movement", "interleave_planes", (1, k), "permute", "int8") for k in INTERLEAVED),
    ]


def rows(target: InstructionSet) -> list[Kernel]:
    """The kernels of this family for an instruction set."""
    return _movement()

"""Rows of the kernel table: float32 convolutions, depthwise convolutions and linear layers."""

from __future__ import annotations

from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table import Kernel

_TILES = {16: (12, 2), 8: (6, 2), 4: (8, 2)}
"""Rows and vectors of output channels of a matrix tile, by lanes: as many accumulators as the registers hold."""
_SMALL_FILE = (6, 2)


def gemm_tile(target: InstructionSet) -> tuple[int, int]:
    """Rows and vectors of the float32 matrix tile."""
    return _SMALL_FILE if target.registers == 16 else _TILES[target.lanes]


def rows(target: InstructionSet) -> list[Kernel]:
    """The kernels of this family for an instruction set."""
    height, vectors = gemm_tile(target)
    tile = f"{height}x{vectors * target.lanes}"
    return [
        Kernel(f"f32_pw_{tile}", "gemm_f32", "pointwise", (height, vectors), "pointwise"),
    ]

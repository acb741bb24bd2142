"""Rows of the kernel table: int8 convolutions, depthwise convolutions and linear layers."""

from __future__ import annotations

from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table import Kernel

_GROUPS = {"vnni512": 4, "vnni": 4, "sdot": 4, "madd16": 2, "generic": 2, "smull": 1}
_TILES = {"avx512": (14, 7, 2), "avx512_vnni": (14, 7, 2), "neon": (8, 4, 2), "neon_dotprod": (8, 4, 2)}
_SMALL_FILE = (6, 5, 2)


def group_depth(target: InstructionSet) -> int:
    """Values of the depth that one lane of the product instruction takes: bytes if 4, else int16."""
    return _GROUPS[target.dot]


def gemm_tile(target: InstructionSet) -> tuple[int, int, int]:
    """Rows, rows of the second tile, and vectors of the int8 matrix tile."""
    return _TILES.get(target.name, _SMALL_FILE)


def rows(target: InstructionSet) -> list[Kernel]:
    """The kernels of this family for an instruction set."""
    height, second, vectors = gemm_tile(target)
    matrix = (height, second, vectors, group_depth(target))
    tile = f"{height}x{vectors * target.lanes}"
    return [
        Kernel(f"s8_pw_{tile}", "gemm_int8", "pointwise", matrix, "conv2d", "int8"),
        Kernel(f"s8_conv_{tile}", "convolution_int8", "convolution", matrix, "conv2d", "int8"),
    ]

"""Rows of the kernel table: float32 convolutions, depthwise convolutions, linear layers and products of activations."""

from __future__ import annotations

from itertools import product

from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table import Kernel

_TILES = {16: (6, 4), 8: (6, 2), 4: (8, 2)}
"""Rows and vectors of output channels of a matrix tile, by lanes, where there are 32 registers."""
_WINDOW_TILES = {16: (12, 2), 8: (6, 2), 4: (8, 2)}
"""The same for the first layer of a network, which has few channels."""
_SMALL_FILE = (6, 2)
_WIDE_TILE = (4, 3)
_TALL_ROWS = 12
VECTOR_STREAMS = 4
"""Panels of weights that the product of a matrix and a vector reads at a time."""
DEPTHWISE_KERNELS = ((3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2))
"""Kernel widths and horizontal strides with a kernel of their own."""
DEPTHWISE_COLUMNS = 8
"""Outputs of a depthwise tile."""
DEPTHWISE_3X3 = (1, 2)
"""Strides of the depthwise kernels of 3x3 whose tiles go down rows, see `depthwise_3x3_columns`."""
DEPTHWISE_ROWS = 7
"""Most rows of their tiles."""


def depthwise_3x3_columns(target: InstructionSet) -> int:
    """Columns of the depthwise tiles of 3x3 that go down rows; 0 on Arm, where products take the time, not loads."""
    if target.architecture == "aarch64":
        return 0
    return 2 if target.registers == 16 else 4


def gemm_tile(target: InstructionSet) -> tuple[int, int]:
    """Rows and vectors of the float32 matrix tile."""
    return _SMALL_FILE if target.registers == 16 else _TILES[target.lanes]


def wide_tile(target: InstructionSet) -> tuple[int, int] | None:
    """Rows and vectors of the tile of a pointwise layer's last panel, if it may be a vector wider than the others.

    It then has the last channels where they fill no more than a vector: six rows of one vector are too few sums to
    occupy the multipliers, which takes at least eight.
    """
    return _WIDE_TILE if target.registers == 16 and target.fma else None


def tall_rows(target: InstructionSet) -> int:
    """Rows of the first tiles of a panel of one vector, where it joins no wider one; 0 where all have the usual rows.

    They occupy the multipliers (see `wide_tile`), and each begins and ends once for twice as many pixels.
    """
    return _TALL_ROWS if target.lanes == 16 else 0


def window_tile(target: InstructionSet) -> tuple[int, int]:
    """Rows and vectors of the float32 tile of a convolution of an image with few channels."""
    return _SMALL_FILE if target.registers == 16 else _WINDOW_TILES[target.lanes]


WINOGRAD_TILES = ((4, 1), (2, 1), (2, 2))
"""Outputs of a tile of Winograd's algorithms for 3x3 kernels, in each dimension, and their stride."""


def winograd_kernel(part: str, outputs: int, stride: int) -> str:
    """Name of the kernel of a transform, of the "input" or the "output"."""
    return f"f32_winograd{outputs}s{stride}_{part}"


IMAGE_TILE, IMAGE_TILES = 4, 4
"""Outputs of a tile of Winograd's algorithm for images of few channels, and tiles at a time."""
IMAGE_DEPTHS = (3, 4)
"""Channels of the images for which it saves time."""
_IMAGE_VECTORS = 2


def image_width(target: InstructionSet) -> int:
    """Output channels of a panel of Winograd's algorithm for images of few channels."""
    return _IMAGE_VECTORS * target.lanes


def winograd_rows(target: InstructionSet) -> tuple[int, ...]:
    """Rows of the tiles of Winograd's products, the usual ones first; others serve few rows that they divide."""
    height, _ = gemm_tile(target)
    return (height, 4) if height % 4 else (height,)


GENERAL_COLUMNS = 8
"""Output columns of a tile of the depthwise kernels of any size."""


PAIRED_ROWS = ((3, 1), (5, 1), (5, 2))
"""Kernel widths and strides of the depthwise kernels that can compute two rows at a time."""


def rows(target: InstructionSet) -> list[Kernel]:
    """The kernels of this family for an instruction set."""
    height, vectors = gemm_tile(target)
    tile = f"{height}x{vectors * target.lanes}"
    matrix, window = (height, vectors), window_tile(target)
    window_name = f"{window[0]}x{window[1] * target.lanes}"
    found = [
        Kernel(f"f32_pw_{tile}", "gemm_f32", "pointwise", matrix, "conv2d"),
        Kernel(f"f32_gemv_{vectors * target.lanes}", "gemv_f32", "matrix_vector", (VECTOR_STREAMS, vectors), "conv2d"),
        Kernel(f"f32_pack_panels_{vectors * target.lanes}", "matmul_f32", "pack_panels", (vectors,), "matmul"),
        Kernel(f"f32_matmul_{tile}", "matmul_f32", "matmul", matrix, "matmul"),
        Kernel(f"f32_conv_{tile}", "convolution_f32", "convolution", matrix, "conv2d"),
        Kernel(f"f32_image_{window_name}", "convolution_f32", "image_convolution", window, "conv2d"),
        Kernel("f32_pad_image", "pad_image", "pad_image", (0,), "conv2d"),
        Kernel("f32_zero_stuff", "zero_stuff", "zero_stuff", (), "conv_transpose2d"),
        Kernel("f32_dw_any", "depthwise_general_f32", "depthwise_general", (GENERAL_COLUMNS, 0), "conv2d"),
        Kernel("f32_dw_any_partial", "depthwise_general_f32", "depthwise_general", (GENERAL_COLUMNS, 1), "conv2d"),
    ]
    for rows_of_tile in winograd_rows(target):
        name = f"f32_winograd_{rows_of_tile}x{vectors * target.lanes}"
        found.append(Kernel(name, "winograd_f32", "products", (rows_of_tile, vectors), "conv2d"))
    for size in WINOGRAD_TILES:
        for part in ("input", "output"):
            found.append(Kernel(winograd_kernel(part, *size), "winograd_f32", f"transform_{part}", size, "conv2d"))
    for depth in IMAGE_DEPTHS:
        name = f"f32_winograd_image{depth}_{IMAGE_TILES}x{image_width(target)}"
        constants = (IMAGE_TILES, _IMAGE_VECTORS, depth)
        found.append(Kernel(name, "winograd_image_f32", "winograd_image", constants, "conv2d"))
    for planes in (1, 2, 3, 4):
        found.append(Kernel(f"f32_pad_planes{planes}", "pad_image", "pad_image", (planes,), "conv2d"))
    for width, stride in DEPTHWISE_KERNELS:
        for partial, suffix in ((0, ""), (1, "_partial")):
            name = f"f32_dw{width}s{stride}_{DEPTHWISE_COLUMNS}{suffix}"
            pairs = int((width, stride) in PAIRED_ROWS and not partial and target.registers == 32)
            constants = (width, stride, DEPTHWISE_COLUMNS, partial, pairs)
            found.append(Kernel(name, "depthwise_f32", "depthwise", constants, "conv2d"))
    columns = depthwise_3x3_columns(target)
    if columns:
        for stride, hardswish in product(DEPTHWISE_3X3, (0, 1)):
            name = f"f32_dw3x3s{stride}{'_hardswish' if hardswish else ''}"
            constants = (stride, columns, DEPTHWISE_ROWS, hardswish)
            found.append(Kernel(name, "depthwise_columns_f32", "depthwise_columns", constants, "conv2d"))
    return found

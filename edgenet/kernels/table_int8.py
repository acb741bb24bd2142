"""Rows of the kernel table: int8 convolutions, depthwise convolutions and linear layers."""

from __future__ import annotations

from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table import Kernel
from edgenet.kernels.table_float import GENERAL_COLUMNS

_GROUPS = {"vnni512": 4, "vnni": 4, "sdot": 4, "madd16": 2, "generic": 2, "smull": 4}
_TILES = {128: (8, 4, 2), 512: (14, 7, 2)}
"""Of instruction sets of 32 registers, by their width in bits."""
_WINOGRAD_TILE = (8, 4, 2)
_SMALL_FILE = (6, 5, 2)
_PAIRS_TILES = {256: (4, 3, 2), 512: (8, 4, 2)}
"""Of products of pairs of bytes, by the bits of a register: the sums leave room for the products of four groups."""
UNIT_GROUPS = 2
"""Groups of four bytes of a unit, which products of pairs of bytes take at a time."""
FROM_INPUT, FROM_SCRATCH, FROM_PADDED = 0, 1, 2
"""What the tiles of a convolution read: its input, rows gathered and widened before, or an image with its padding."""
IMAGE_SPARE_BYTES = 128
"""Bytes of a row of an image widened to int16 beyond its pixels, at least."""
TILE_ROWS, TILE_BYTES = 16, 64
"""Rows of a matrix register, and the bytes of each."""
SQUARE_TURN, TALL_TURN = (2, 2), (4, 1)
"""Rows and columns of tiles that a turn of the kernels for matrix registers has.

Tall ones read each weight half as often, and x twice as often.
"""
CHUNK = 4
"""Pixels of a turn that are finished at a time."""
CHUNK_ROWS = 64
"""An entry of a table of chunks is this times the first pixel in y, plus the row of its sums in the turn."""

DEPTHWISE_BANDS = {(3, 3, 1, 1): 2, (3, 3, 2, 2): 1, (5, 5, 1, 1): 2, (5, 5, 2, 2): 1}
"""Output rows that a depthwise tile has, by kernel height and width and strides, where there is a kernel for them."""

PLAIN, HARDSWISH, RECTIFIED = 0, 1, 2
"""What is done with a sum: scale and clamp it; then hardswish; clamp it at 0, the zero point, and 255, as bytes do."""
ACTIVATIONS = {PLAIN: "", HARDSWISH: "_hardswish", RECTIFIED: "_rectified"}
"""How the names of the wide depthwise kernels end."""
RECTIFIED_ONES = float(1 << 23)
"""What sums of rectified layers are more than they should be: as float32, their bits count up from its own, by one."""

NARROW_ROW = 16
"""Outputs of a row up to which the wide depthwise kernels interleave rows of input all at once."""


def group_depth(target: InstructionSet) -> int:
    """Values of the depth that one lane of the product instruction takes: bytes if 4, else int16."""
    return _GROUPS[target.dot]


def gemm_tile(target: InstructionSet) -> tuple[int, int, int]:
    """Rows, rows of the second tile, and vectors of the int8 matrix tile."""
    return _SMALL_FILE if target.registers == 16 else _TILES[target.bits]


def matrix_kernel(turn: tuple[int, int]) -> str:
    """Name of the kernel for matrix registers with such turns: their pixels and output channels, at most."""
    rows, columns = turn
    return f"s8_matrix_{rows * TILE_ROWS}x{columns * TILE_ROWS}"


def winograd_tile(target: InstructionSet) -> tuple[int, int, int]:
    """Rows, rows of the second tile, and vectors of the products of Winograd's algorithm."""
    return _SMALL_FILE if target.registers == 16 else _WINOGRAD_TILE


def has_winograd(target: InstructionSet) -> bool:
    """Whether Winograd's algorithm serves: with products of int16 summed in int32, and none of whole tiles of bytes."""
    return target.dot in ("madd16", "generic", "vnni", "vnni512") and not target.matrix_registers


def winograd_outputs(target: InstructionSet) -> tuple[int, ...]:
    """Outputs of a tile, in each dimension, of the algorithms of Winograd's for 3x3 kernels of stride 1 that serve.

    Small images do not gain from products of int16 where those of bytes are faster.
    """
    if not has_winograd(target):
        return ()
    return (4, 2) if group_depth(target) == 2 else (4,)


def has_byte_pairs(target: InstructionSet) -> bool:
    """Whether products of pairs of bytes serve (see `kernels.pairs_int8`): where those of int16 are the other way."""
    return target.dot == "madd16"


def pairs_tile(target: InstructionSet) -> tuple[int, int, int]:
    """Rows, rows of the second tile, and vectors of products of pairs of bytes."""
    return _PAIRS_TILES[target.bits]


def halved(target: InstructionSet) -> bool:
    """Whether a vector of groups holds the first half of every lane's group, then the second."""
    return target.dot == "smull"


def interleaves_in_registers(target: InstructionSet, size: tuple[int, int, int, int]) -> bool:
    """Whether the wide kernel of a size (see DEPTHWISE_BANDS) has no interleaved copy of its input.

    A strided column serves few outputs; kernels of five columns make up for that where registers are wide. Bands of
    such kernels have one row.
    """
    return size == (3, 3, 2, 2) or (size == (5, 5, 2, 2) and target.bits > 128)


def plane_steps(kernel_height: int, stride: int, band: int, group: int) -> tuple[int, int, int, int]:
    """How bands of `band` output rows share interleaved rows of input in a wide depthwise kernel.

    A plane holds a group of rows, and begins so many rows (the first result) behind the one before. A band of a number
    of groups (the second) needs planes in a row (the third), each group one that lies so many planes (the last) behind
    that of the group before. The next band begins a plane further on.
    """
    groups = -(-((band - 1) * stride + kernel_height) // group)
    apart = min(band * stride, group)
    return apart, groups, (groups - 1) * (group // apart) + 1, group // apart


def groups_columns(group: int, rows: int, stride: int) -> bool:
    """Whether a kernel that interleaves in registers takes the last row of a window by groups of adjacent columns.

    A row that is alone in its group of rows wastes most of each product; by columns it takes fewer. Groups begin where
    windows do.
    """
    return rows % group == 1 and group % stride == 0


def block_vectors(target: InstructionSet) -> int:
    """Vectors of a block of channels of the wide depthwise kernels: as many as widening makes of a register of bytes.

    Where a block would then be wider than many layers, pairs of int16 are made of half a register.
    """
    return 4 if target.dot == "madd16" and target.bits == 256 else group_depth(target)


def splits_words(target: InstructionSet, vectors: int) -> bool:
    """Whether blocks of so many vectors are interleaved by words of two channels, which become two vectors."""
    return target.dot == "madd16" and vectors == 4


def rectifies(target: InstructionSet) -> bool:
    """Whether int8 kernels take RECTIFIED sums, which are floating-point numbers as they are.

    Arm's multiply-add overwrites what it adds, so that this would not be shorter there. On AVX2 depthwise layers become
    faster, but execute so much in a cycle that Intel's cores lower their clock, and whole networks become slower.
    """
    return target.fma and target.architecture == "x86_64" and (target.dot != "madd16" or target.bits == 512)


def head_vectors(activation: int) -> int:
    """Vectors that a block's weights begin with for each of its own: bias, multiplier, and what RECTIFIED adds."""
    return 3 if activation == RECTIFIED else 2


def block_order(target: InstructionSet, vectors: int) -> list[list[int]]:
    """The channel of each lane of a block's vectors [vector][lane] (see `kernels.simd_depthwise_wide`)."""
    if splits_words(target, vectors):
        return [[lane // 4 * 16 + k // 2 * 8 + lane % 4 * 2 + k % 2 for lane in range(target.lanes)] for k in range(4)]
    return [[4 * (vectors * (lane // 4) + k) + lane % 4 for lane in range(target.lanes)] for k in range(vectors)]


def depthwise_whole_blocks(target: InstructionSet, channels: int, size: tuple[int, int, int, int], vectors: int) -> int:
    """Blocks of so many vectors of a wide depthwise kernel (see DEPTHWISE_BANDS) that serve `channels`.

    The rest goes a vector at a time. A last block that is moved back computes some channels twice, which takes less
    time than many vectors do.
    """
    blocks, rest = divmod(channels, target.lanes * vectors)
    left = -(-rest // target.lanes)
    return blocks + (blocks > 0 and left >= (2 if interleaves_in_registers(target, size) else 3))


def half_block_rows(target: InstructionSet, size: tuple[int, int, int, int]) -> int:
    """Rows of the image that half blocks of the wide kernel of a size (see DEPTHWISE_BANDS) take together.

    Half blocks serve where a block is wider than the last channels of many networks; 0: there are none. Those of one
    row have half as many vectors, those of two rows fill the registers.
    """
    if target.bits == 512:
        return 2 if group_depth(target) == 4 and interleaves_in_registers(target, size) else 0
    return int(block_vectors(target) > group_depth(target))


def depthwise_columns(target: InstructionSet, band: int) -> int:
    """Output columns of a depthwise tile of `band` rows."""
    return (8 if target.registers == 16 else 16) // band


def depthwise_wide_columns(target: InstructionSet) -> int:
    """Output columns of a depthwise tile that spans a block of channels."""
    return 8 if target.bits == 512 else 4


def depthwise_strided_columns(target: InstructionSet) -> int:
    """Output columns of a tile of the depthwise kernels that interleave in registers."""
    if group_depth(target) == 2 and target.bits > 128:
        return 4
    return 3 if target.bits == 512 else 2


def rows(target: InstructionSet) -> list[Kernel]:
    """The kernels of this family for an instruction set."""
    height, second, vectors = gemm_tile(target)
    matrix = (height, second, vectors)
    tile = f"{height}x{vectors * target.lanes}"
    group = group_depth(target)
    widened = group != 4
    reads = FROM_SCRATCH if widened else FROM_INPUT
    found = [
        Kernel(f"s8_pw_{tile}", "gemm_int8", "pointwise", (*matrix, group), "conv2d", "int8"),
        Kernel(f"s8_conv_{tile}", "convolution_int8", "convolution", (*matrix, reads), "conv2d", "int8"),
        Kernel(f"s8_image_{tile}", "convolution_int8", "convolution", (*matrix, FROM_PADDED), "conv2d", "int8"),
        Kernel(
            "s8_dw_any", "depthwise_general_int8", "depthwise_general", (GENERAL_COLUMNS, group, 0), "conv2d", "int8"
        ),
        Kernel(
            "s8_dw_any_across",
            "depthwise_general_int8",
            "depthwise_general",
            (GENERAL_COLUMNS, group, 1),
            "conv2d",
            "int8",
        ),
    ]
    if target.matrix_registers:
        turns = [(matrix_kernel(turn), turn) for turn in (SQUARE_TURN, TALL_TURN)]
        found += [Kernel(name, "matrix_int8", "matrix", turn, "conv2d", "int8") for name, turn in turns]
    high, _, wide = winograd = winograd_tile(target)
    for outputs in winograd_outputs(target):
        name = f"s8_winograd{outputs}_{high}x{wide * target.lanes}"
        found.append(Kernel(name, "winograd_int8", "winograd", (*winograd, outputs), "conv2d", "int8"))
    if widened:  # sums of weights and of pixels are exact operands, too
        found.append(Kernel(f"s8_strassen_{tile}", "strassen_int8", "strassen", matrix, "conv2d", "int8"))
        found.append(
            Kernel(f"s8_gemv_{vectors * target.lanes}", "gemv_int8", "matrix_vector", (vectors,), "conv2d", "int8")
        )
        found.append(Kernel("s8_widen_image", "widen_image", "widen_image", (), "conv2d", "int8"))
    if has_byte_pairs(target):
        high, _, wide = pairs = pairs_tile(target)
        name = f"{high}x{wide * target.lanes}"
        found.append(Kernel(f"s8_pairs_{name}", "pairs_int8", "pairs", pairs, "conv2d", "int8"))
        found.append(
            Kernel(f"s8_conv_pairs_{name}", "convolution_pairs_int8", "pair_convolution", pairs, "conv2d", "int8")
        )
    for (high, wide, step_y, step_x), band in DEPTHWISE_BANDS.items():
        constants = (high, wide, step_y, step_x, band, depthwise_columns(target, band), group)
        found.append(Kernel(f"s8_dw{high}x{wide}s{step_y}", "depthwise_int8", "depthwise", constants, "conv2d", "int8"))
        size = (high, wide, step_y, step_x)
        vectors, together = block_vectors(target), half_block_rows(target, size)
        kinds = [("wide", vectors, 1)]
        if together:
            kinds.append(("half", vectors if together == 2 else vectors // 2, together))
        for activation, suffix in ACTIVATIONS.items():
            if activation == RECTIFIED and not rectifies(target):
                continue
            for kind, vectors, together in kinds:
                name = f"s8_dw{high}x{wide}s{step_y}_{kind}{suffix}"
                if interleaves_in_registers(target, size):
                    module, factory = "depthwise_strided_int8", "depthwise_strided_rows"
                    constants = (*size, depthwise_strided_columns(target), group, vectors, activation, together)
                else:
                    module, factory = "depthwise_wide_int8", "depthwise_wide"
                    constants = (*size, band, depthwise_wide_columns(target), group, vectors, activation)
                found.append(Kernel(name, module, factory, constants, "conv2d", "int8"))
    return found

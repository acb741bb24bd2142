"""Lowering of int8 pointwise convolutions by one step of Strassen's algorithm (see `kernels.strassen_int8`)."""

from __future__ import annotations

from edgenet.graph import Node
from edgenet.kernels.table_int8 import gemm_tile, group_depth
from edgenet.prepare.lower_int8_matrix import epilogue, packed_weights
from edgenet.prepare.lowering import Lowering

STRASSEN_WORK = 0.95
"""Its time, sums included, as a share of that of a product made directly."""
_LEAST_DEPTH, _LEAST_CHANNELS = 96, 160
"""With less, the sums of tiles and of pixels cost what they save in products."""
_LEAST_PIXELS = 48
"""Likewise: the sums of weights serve so many pixels."""
_FEW_PIXELS, _GREAT_DEPTH = 144, 256
"""Fewer pixels need a greater depth: theirs is a larger share of sums of weights."""
_BLOCK_BYTES = 256 * 1024
"""Widened pixels and their sums that a thread keeps at hand."""
_UNITS_PER_THREAD = 4
_UNITS_OF_SHARED_PIXELS = 2
"""Where threads share a block, each prepares its pixels as often as it takes units."""
_APART = 320
"""Bytes between the four sums of weights, so that they do not share sets of the first-level cache."""


def suits_strassen(node: Node, lowering: Lowering, pixels: int) -> bool:
    """Whether the products saved outweigh the sums, for a pointwise convolution of so many pixels."""
    weight = lowering.shape(node.inputs["weight"])
    return (
        lowering.int8_algorithms
        and group_depth(lowering.target) == 2
        and weight[-1] % 8 == 0
        and weight[0] >= _LEAST_CHANNELS
        and pixels >= _LEAST_PIXELS
        and weight[-1] >= (_LEAST_DEPTH if pixels >= _FEW_PIXELS else _GREAT_DEPTH)
    )


def strassen(node: Node, lowering: Lowering, pixels: int) -> None:
    """Step of y = requantized(x @ weight.T + bias) with residual and activation, over `pixels` rows.

    Each thread has the same number of blocks of pixels; where these are few, the pairs of panels are divided, too.
    Pixels that are too few for that are one block for all threads, which divide the pairs.
    """
    channels, depth = lowering.shape(node.inputs["weight"])[0], lowering.shape(node.inputs["weight"])[-1]
    rows, _, vectors = gemm_tile(lowering.target)
    width, threads = vectors * lowering.target.lanes, lowering.threads
    squares, pairs = pixels // (2 * rows), -(-channels // (2 * width))
    stride, sums_stride = -(-depth // 32) * 64 + 64, -(-depth // 64) * 64 + 64
    pixel_bytes = stride + 2 * sums_stride
    sharing = threads if pixels >= _LEAST_PIXELS * threads else 1
    blocks = sharing * -(-squares * 2 * rows * pixel_bytes // (sharing * _BLOCK_BYTES))
    units = threads * (_UNITS_PER_THREAD if sharing > 1 else _UNITS_OF_SHARED_PIXELS)
    span = -(-pairs // (min(pairs, -(-units // blocks)) if threads > 1 else 1))
    largest = min(pixels, -(-pixels // blocks) + rows - 1)
    tile_bytes, weight_sums_stride = rows * width * 4, depth // 4 * width * 4 + _APART
    scratch = 4 * weight_sums_stride + largest // (2 * rows) * 3 * tile_bytes + largest * pixel_bytes
    lowering.step(
        f"s8_strassen_{rows}x{width}",
        blocks * -(-pairs // span),
        1,
        x=lowering.read(node.inputs["x"]),
        x_stride=depth,
        weights=packed_weights(node, lowering),
        scratch=lowering.scratch(-(-scratch // 64) * 64),
        scratch_stride=stride,
        sums_stride=sums_stride,
        weight_sums_stride=weight_sums_stride,
        pixels=pixels,
        depth=depth,
        channels=channels,
        blocks=blocks,
        spans=-(-pairs // span),
        span=span,
        quantum=rows,
        **epilogue(node, lowering, channels),
    )

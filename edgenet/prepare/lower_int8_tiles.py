"""Lowering of int8 matrix products and convolutions to matrix registers (see `kernels.matrix_int8`)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edgenet.graph import Node
from edgenet.kernels.table_int8 import MATRIX_TILE, TILE_BYTES, TILE_ROWS, gemm_tile
from edgenet.prepare.lower_int8_matrix import content, epilogue, first_sums, pack_panels
from edgenet.prepare.lower_int8_window import padded_image
from edgenet.prepare.lowering import Lowering
from edgenet.prepare.partition import OWN_ROWS, Partition
from edgenet.prepare.plan import Operand, Packed

_LEAST_PIXELS = 7
"""With fewer, tiles are mostly empty."""
_NEAR_BYTES = 16 * 1024
"""Input and output of a block that stay in the first-level cache while all panels pass."""
_FAR_BYTES = 512 * 1024
"""Weights that stay in the second-level cache while all blocks pass; where they are more, what a block has there."""
_SPANS_PER_THREAD = 4
"""So that threads can help each other with what is left."""


def suits_tiles(lowering: Lowering, pixels: int) -> bool:
    """Whether matrix registers, which the instruction set must have, save time for so many pixels in a row."""
    return lowering.target.matrix_registers and pixels >= _LEAST_PIXELS


def tile_starts(pixels: int, together: int) -> tuple[int, np.ndarray]:
    """Height of the tiles of a row of pixels, and where they begin: as equal as can be, the last ends with the row.

    Their number is a multiple of `together`, unless they became small.
    """
    tiles = -(-pixels // TILE_ROWS)
    if pixels >= -(-tiles // together) * together * _LEAST_PIXELS:
        tiles = -(-tiles // together) * together
    height = -(-pixels // tiles)
    return height, np.minimum(np.arange(tiles) * height, pixels - height)


def divide(tiles: int, tile_bytes: int, panels: int, weights_bytes: int, x_bytes: int, threads: int) -> Partition:
    """Blocks of pairs of tiles, each with `tile_bytes` of input and output, and spans of panels.

    Where the weights outweigh the input `x_bytes`, each of several threads has spans of its own, else blocks of its
    own.
    """
    near = _NEAR_BYTES if weights_bytes <= _FAR_BYTES else _FAR_BYTES
    block = 2 * max(1, near // (2 * tile_bytes))
    blocks = -(-tiles // block)
    heavy = threads > 1 and weights_bytes > OWN_ROWS * x_bytes
    if not heavy:
        blocks = min(-(-blocks // threads) * threads, -(-tiles // 2))
    span = panels
    if threads > 1 and (heavy or blocks < threads):
        span = -(-panels // min(panels, _SPANS_PER_THREAD * threads))
    return Partition(blocks, -(-panels // span), span, int(heavy), 2)


def in_tiles(panels: np.ndarray, width: int, steps: int) -> np.ndarray:
    """Panels [bias][multiplier][K / 4][width][4] of `width` channels with [steps][width / 16] whole tiles instead.

    A last panel of fewer channels has tiles of one column, which are in this order already.
    """
    size = width * (8 + steps * TILE_BYTES)
    bodies = panels[: len(panels) // size * size].reshape(-1, size)[:, 8 * width :]
    lines = bodies.reshape(len(bodies), steps, TILE_ROWS, width * 4 // TILE_BYTES, TILE_BYTES)
    bodies[...] = lines.swapaxes(2, 3).reshape(bodies.shape)
    return panels


def register_shapes(height: int) -> np.ndarray:
    """Shapes of the matrix registers as `ldtilecfg` reads them: sums and pixels have `height` rows, weights 16."""
    shapes = np.zeros(64, np.uint8)
    shapes[0] = 1  # the palette
    shapes[16:32].view(np.uint16)[...] = TILE_BYTES
    shapes[48:56] = [height] * 6 + [TILE_ROWS] * 2
    return shapes


def _step(
    node: Node,
    lowering: Lowering,
    x: Operand | Packed,
    x_stride: int,
    height: int,
    tiles: Packed,
    runs: Iterable[int],
) -> None:
    """The step of a product. `tiles`: first byte in x and first pixel in y of each tile; `runs`: where each run of taps
    that lies together begins, in bytes from the first.
    """
    weight = lowering.constant(node.inputs["weight"])
    channels, runs = len(weight), np.asarray(list(runs), np.int64)
    matrix = weight.reshape(channels, len(runs), -1)
    run_bytes = -(-matrix.shape[2] // TILE_BYTES) * TILE_BYTES
    steps = len(runs) * run_bytes // TILE_BYTES
    places = (runs[:, None] + np.arange(0, run_bytes, TILE_BYTES)).reshape(-1)
    vectors = gemm_tile(lowering.target)[2]
    width = vectors * lowering.target.lanes

    def make() -> np.ndarray:
        filled = np.zeros((channels, len(runs), run_bytes), np.int8)
        filled[:, :, : matrix.shape[2]] = matrix
        multiplier = lowering.constant(node.inputs["multiplier"])
        filled = filled.reshape(channels, -1)
        panels = pack_panels(filled, first_sums(node, lowering, weight), multiplier, width, lowering.target)
        return in_tiles(panels, width, steps)

    key = ("s8_tiles", *content(node, lowering), width, len(runs))
    weights = lowering.packed(key, make, channels * len(runs) * run_bytes)
    tile_bytes = height * (min(x_stride * len(runs), steps * TILE_BYTES) + channels)
    x_bytes, panels = lowering.size(node.inputs["x"]), -(-channels // width)
    part = divide(len(tiles.array), tile_bytes, panels, weights.array.nbytes, x_bytes, lowering.threads)
    lowering.step(
        f"s8_matrix_{MATRIX_TILE}",
        part.units,
        1,
        x=x,
        x_stride=x_stride,
        weights=weights,
        scratch=lowering.scratch(2 * TILE_ROWS * TILE_BYTES * vectors),
        tiles=tiles,
        places=lowering.packed(("places", places.tobytes()), lambda: places),
        shapes=lowering.packed(("shapes", height), lambda: register_shapes(height)),
        height=height,
        count=len(tiles.array),
        steps=steps,
        channels=channels,
        **part.slots(),
        **epilogue(node, lowering, channels),
    )


def matrix_product_tiles(node: Node, lowering: Lowering, pixels: int) -> None:
    """Step of y = requantized(x @ weight.T + bias) with residual and activation, over `pixels` rows."""
    depth = lowering.shape(node.inputs["weight"])[-1]
    height, starts = tile_starts(pixels, 2 * lowering.threads)
    key = ("tiles", pixels, depth, lowering.threads)
    tiles = lowering.packed(key, lambda: np.stack([starts * depth, starts], axis=1), 16 * len(starts))
    _step(node, lowering, lowering.read(node.inputs["x"]), depth, height, tiles, [0])


def convolution_tiles(node: Node, lowering: Lowering) -> None:
    """Steps of a convolution of any kernel, stride, padding and dilation, without groups."""
    image, a = padded_image(node, lowering), node.attributes
    _, kernel_height, kernel_width, depth = lowering.shape(node.inputs["weight"])
    batch, out_height, out_width, _ = lowering.shape(node.output)
    (stride_y, stride_x), (dilation_y, dilation_x) = a["stride"], a["dilation"]
    height, starts = tile_starts(out_width, 1)
    pixel_step, row_step, image_step = stride_x * depth, stride_y * image.row_stride, image.image_stride

    def make() -> np.ndarray:
        images, lines = np.arange(batch)[:, None, None], np.arange(out_height)[None, :, None]
        places = images * image_step + lines * row_step + starts * pixel_step
        pixels = (images * out_height + lines) * out_width + starts
        return np.stack([places.reshape(-1), pixels.reshape(-1)], axis=1)

    key = ("tiles", batch, out_height, out_width, image_step, row_step, pixel_step)
    tiles = lowering.packed(key, make, 16 * batch * out_height * len(starts))
    across = [0] if dilation_x == 1 else [tap * dilation_x * depth for tap in range(kernel_width)]
    runs = [tap * dilation_y * image.row_stride + offset for tap in range(kernel_height) for offset in across]
    _step(node, lowering, image.x, pixel_step, height, tiles, runs)

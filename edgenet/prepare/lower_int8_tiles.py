"""Lowering of int8 matrix products and convolutions to matrix registers (see `kernels.matrix_int8`)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from edgenet.graph import Node
from edgenet.kernels.table_int8 import TILE_BYTES, TILE_ROWS, matrix_kernel
from edgenet.prepare.lower_int8_matrix import content, epilogue, first_sums, pack_panels
from edgenet.prepare.lower_int8_window import padded_image, padded_size
from edgenet.prepare.lowering import Lowering
from edgenet.prepare.matrix_tiles import LEAST_PIXELS, Tiles, Window, product_tiles, window_tiles
from edgenet.prepare.partition import OWN_ROWS, Partition
from edgenet.prepare.plan import Operand, Packed

_NEAR_BYTES = 16 * 1024
"""Input of a block that stays in the first-level cache while all panels pass, and its output where they stay, too."""
_KEPT_BYTES = 20 * 1024
"""Weights that stay in the first-level cache."""
_FAR_BYTES = 512 * 1024
"""Weights that stay in the second-level cache while all blocks pass; where they are more, what a block has there."""
_STEP_PRODUCTS = 14
"""Products of a sum that vector registers make while matrix registers make a step, or while a sum goes through memory.

Sums of so few channels that they are a single tile wide take twice as long through memory.
"""
_SPANS_PER_THREAD = 4
"""So that threads can help each other with what is left."""


def suits_tiles(node: Node, lowering: Lowering, pixels: int) -> bool:
    """Whether matrix registers, which the instruction set must have, save time for so many pixels in a row.

    Short sums are made in vector registers, where they can stay until they are finished.
    """
    if not lowering.target.matrix_registers or pixels < LEAST_PIXELS:
        return False
    channels, *window, depth = lowering.shape(node.inputs["weight"])
    runs, run = math.prod(window), depth
    if node.attributes.get("dilation", (1, 1))[1] == 1:
        runs, run = math.prod(window[:1]), depth * math.prod(window[1:])
    steps = runs * -(-run // TILE_BYTES)
    return runs * run > _STEP_PRODUCTS * (steps + (1 if channels > TILE_ROWS else 2))


def divide(turns: int, turn_bytes: int, panels: int, weights_bytes: int, x_bytes: int, threads: int) -> Partition:
    """Blocks of turns, each with `turn_bytes` that should stay in the first-level cache, and spans of panels.

    Where the weights outweigh the input `x_bytes`, each of several threads has spans of its own, else blocks of its
    own.
    """
    near = _NEAR_BYTES if weights_bytes <= _FAR_BYTES else _FAR_BYTES
    blocks = -(-turns // max(1, near // turn_bytes))
    heavy = threads > 1 and weights_bytes > OWN_ROWS * x_bytes
    if not heavy:
        blocks = min(-(-blocks // threads) * threads, turns)
    span = panels
    if threads > 1 and (heavy or blocks < threads):
        span = -(-panels // min(panels, _SPANS_PER_THREAD * threads))
    return Partition(blocks, -(-panels // span), span, int(heavy), 1)


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
    node: Node, lowering: Lowering, x: Operand | Packed, x_stride: int, tiles: Tiles, runs: Iterable[int]
) -> None:
    """The step of a product. `runs`: where each run of taps that lies together begins, in bytes from the first."""
    weight = lowering.constant(node.inputs["weight"])
    channels, runs = len(weight), np.asarray(list(runs), np.int64)
    matrix = weight.reshape(channels, len(runs), -1)
    run_bytes = -(-matrix.shape[2] // TILE_BYTES) * TILE_BYTES
    steps = len(runs) * run_bytes // TILE_BYTES
    places = (runs[:, None] + np.arange(0, run_bytes, TILE_BYTES)).reshape(-1)
    rows, columns = tiles.turn
    width = columns * TILE_ROWS

    def make() -> np.ndarray:
        filled = np.zeros((channels, len(runs), run_bytes), np.int8)
        filled[:, :, : matrix.shape[2]] = matrix
        multiplier = lowering.constant(node.inputs["multiplier"])
        filled = filled.reshape(channels, -1)
        panels = pack_panels(filled, first_sums(node, lowering, weight), multiplier, width, lowering.target)
        return in_tiles(panels, width, steps)

    name = ("s8_tiles", *content(node, lowering), width, len(runs))
    weights = lowering.packed(name, make, channels * len(runs) * run_bytes)
    x_bytes, panels, weights_bytes = lowering.size(node.inputs["x"]), -(-channels // width), weights.array.nbytes
    pixel_bytes = min(x_stride * len(runs), steps * TILE_BYTES) + (channels if weights_bytes <= _KEPT_BYTES else 0)
    turn_bytes = rows * tiles.height * pixel_bytes
    part = divide(tiles.turns, turn_bytes, panels, weights_bytes, x_bytes, lowering.threads)
    turns = tiles.table()
    lowering.step(
        matrix_kernel(tiles.turn),
        part.units,
        1,
        x=x,
        x_stride=x_stride,
        weights=weights,
        scratch=lowering.scratch(rows * TILE_ROWS * TILE_BYTES * columns),
        turns=lowering.packed(("turns", turns.tobytes()), lambda: turns),
        chunks=turns.shape[1] - rows,
        places=lowering.packed(("places", places.tobytes()), lambda: places),
        shapes=lowering.packed(("shapes", tiles.height), lambda: register_shapes(tiles.height)),
        height=tiles.height,
        count=tiles.turns,
        steps=steps,
        channels=channels,
        **part.slots(),
        **epilogue(node, lowering, channels),
    )


def matrix_product_tiles(node: Node, lowering: Lowering, pixels: int) -> None:
    """Step of y = requantized(x @ weight.T + bias) with residual and activation, over `pixels` rows."""
    depth = lowering.shape(node.inputs["weight"])[-1]
    tiles = product_tiles(pixels, lowering.threads).of_depth(depth)
    _step(node, lowering, lowering.read(node.inputs["x"]), depth, tiles, [0])


def convolution_tiles(node: Node, lowering: Lowering) -> None:
    """Steps of a convolution of any kernel, stride, padding and dilation, without groups."""
    a = node.attributes
    _, *kernel, depth = lowering.shape(node.inputs["weight"])
    batch, *out, _ = lowering.shape(node.output)
    size, width = padded_size(node, lowering), lowering.shape(node.inputs["x"])[2]
    window = Window(out, kernel, a["stride"], a["dilation"], size, a["padding"][2], width)
    tiles, layout = window_tiles(window, depth)
    image = padded_image(node, lowering, (layout.phases * layout.height, layout.width), layout.phases)
    tiles = tiles.of_depth(depth).of_images(batch, image.image_stride, math.prod(out))
    (down, across), columns = a["dilation"], [0]
    if across > 1:
        columns = [tap * across * depth for tap in range(kernel[1])]
    runs = [layout.row(tap * down) * image.row_stride + column for tap in range(kernel[0]) for column in columns]
    _step(node, lowering, image.x, a["stride"][1] * depth, tiles, runs)

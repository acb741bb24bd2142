"""Lowering of int8 3x3 convolutions of stride 1 by Winograd's algorithm (see `kernels.winograd_int8`)."""

from __future__ import annotations

import numpy as np

from edgenet.graph import Node
from edgenet.kernels.table_int8 import group_depth, winograd_outputs, winograd_tile
from edgenet.prepare.lower_int8_matrix import content, epilogue, first_sums, sum_ranges
from edgenet.prepare.lower_int8_window import zero_points
from edgenet.prepare.lowering import Lowering, odd_lines

_TRANSFORMS = {
    4: np.array([[6, 0, 0], [1, 1, 1], [1, -1, 1], [1, 2, 4], [1, -2, 4], [0, 0, 6]], np.int16),
    2: np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], np.int16),
}
"""Of the weights, across and down, by outputs of a tile."""
_BOUND = 1 << 25
"""Sums of products must be smaller: the transform of the output divides by up to 64 what it knows modulo 2**32."""
_LEAST_CHANNELS, _LEAST_SIDE, _LEAST_SIDE_OF_FOUR = 32, 6, 11
"""Below, the transforms, tiles that lie half outside of the image, or reading more weights cost more than the products
save."""
_BYTES_LEAST_CHANNELS, _BYTES_LEAST_PIXELS = 64, 400
"""Likewise where products of bytes are twice as fast as those of int16. With fewer pixels, the transformed weights,
eight times as many bytes, take the time."""
_WINDOW_BYTES = 256 * 1024
"""Transformed windows that a thread keeps at hand, unless that were less than two tiles of rows."""


def winograd_size(node: Node, lowering: Lowering) -> int | None:
    """Outputs of a tile, in each dimension, of the algorithm that a convolution without groups is worth, if any.

    The transforms must pay, and the sums be small enough.
    """
    a, weight = node.attributes, node.inputs["weight"]
    filters, height, width, depth = lowering.shape(weight)
    batch, out_height, out_width, _ = lowering.shape(node.output)
    bytes_are_faster = group_depth(lowering.target) == 4
    side = min(out_height, out_width)
    outputs = 4 if side >= _LEAST_SIDE_OF_FOUR else 2
    if (
        not (lowering.int8_algorithms and outputs in winograd_outputs(lowering.target))
        or (height, width) != (3, 3)
        or list(a["stride"]) != [1, 1]
        or list(a["dilation"]) != [1, 1]
        or depth % 2
        or min(filters, depth) < (_BYTES_LEAST_CHANNELS if bytes_are_faster else _LEAST_CHANNELS)
        or side < _LEAST_SIDE
        or (bytes_are_faster and batch * out_height * out_width < _BYTES_LEAST_PIXELS)
        or greatest_sum(lowering.constant(weight), lowering) >= _BOUND
    ):
        return None
    return outputs


def greatest_sum(weight: np.ndarray, lowering: Lowering) -> int:
    """The largest absolute value of a sum of products of a filter [O, ...] and values as they lie in memory."""
    least, greatest = sum_ranges(weight, lowering)
    return int(np.maximum(greatest, -least).max())


def pack(weight: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, width: int, outputs: int) -> np.ndarray:
    """Transformed weights [O, 3, 3, K] as panels [bias][multiplier][positions][K / 2][width][2] of int16.

    They are filled up with 0.
    """
    filters, _, _, depth = weight.shape
    panels = -(-filters // width)
    transform, window = _TRANSFORMS[outputs], outputs + 2
    transformed = np.einsum("ai,oijk,bj->abko", transform, weight.astype(np.int16), transform, optimize=True)
    head = 8 * width
    result = np.zeros((panels, head + window**2 * depth * width * 2), np.uint8)
    for panel, row in enumerate(result):
        part = slice(panel * width, min(filters, panel * width + width))
        count = part.stop - part.start
        row[: 4 * width].view(np.int32)[:count] = bias[part]
        row[4 * width : head].view(np.float32)[:count] = multiplier[part]
        body = row[head:].view(np.int16).reshape(window, window, depth // 2, width, 2)
        body[:, :, :, :count] = transformed[..., part].reshape(window, window, depth // 2, 2, count).swapaxes(3, 4)
    return result


def winograd(node: Node, lowering: Lowering, outputs: int) -> None:
    """Step of y = requantized(conv(x, weight) + bias) with residual and activation; `outputs`: see `winograd_size`.

    Each thread has the same number of blocks of tiles; where a block would hold few, the panels are divided, too.
    """
    positions = (outputs + 2) ** 2
    weight = node.inputs["weight"]
    filters, _, _, depth = lowering.shape(weight)
    batch, in_height, in_width, _ = lowering.shape(node.inputs["x"])
    _, out_height, out_width, _ = lowering.shape(node.output)
    top, _, left, _ = node.attributes["padding"]
    rows, _, vectors = winograd_tile(lowering.target)
    width = vectors * lowering.target.lanes

    def make() -> np.ndarray:
        kernel = lowering.constant(weight)
        multiplier = lowering.constant(node.inputs["multiplier"]).astype(np.float32)
        return pack(kernel, first_sums(node, lowering, kernel), multiplier, width, outputs)

    tiles_y, tiles_x = -(-out_height // outputs), -(-out_width // outputs)
    tiles, panels = batch * tiles_y * tiles_x, -(-filters // width)
    stride = depth * 2 + 64
    most = max(2 * rows, _WINDOW_BYTES // (positions * stride))
    blocks = -(-tiles // most)
    if blocks > 1:
        blocks = -(-blocks // lowering.threads) * lowering.threads
    span = panels if blocks > 1 else -(-panels // lowering.threads)
    quantum = rows if blocks > 1 else 1
    largest = min(tiles, -(-tiles // blocks) + quantum)
    window_spread, product_spread = odd_lines(largest * stride), odd_lines((largest + rows) * width * 4)
    scratch = positions * (64 + window_spread + product_spread)
    lowering.step(
        f"s8_winograd{outputs}_{rows}x{width}",
        blocks * -(-panels // span),
        1,
        x=lowering.read(node.inputs["x"]),
        image_stride=in_height * in_width * depth,
        row_stride=in_width * depth,
        outside=zero_points(lowering, node.inputs["x"], depth),
        height=in_height,
        width=in_width,
        top=top,
        left=left,
        weights=lowering.packed(("s8_winograd", *content(node, lowering), width, outputs), make),
        scratch=lowering.scratch(scratch),
        window_stride=stride,
        window_spread=window_spread,
        product_spread=product_spread,
        out_height=out_height,
        out_width=out_width,
        tiles_y=tiles_y,
        tiles_x=tiles_x,
        tiles=tiles,
        depth=depth,
        channels=filters,
        blocks=blocks,
        spans=-(-panels // span),
        span=span,
        quantum=quantum,
        **epilogue(node, lowering, filters),
    )

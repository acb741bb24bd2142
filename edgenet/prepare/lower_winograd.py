"""Lowering of 3x3 convolutions by Winograd's algorithms in float32 (see `kernels.winograd_lines_f32`)."""

from __future__ import annotations

import numpy as np

from edgenet.graph import Node
from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table_float import gemm_tile, winograd_kernel, winograd_rows
from edgenet.prepare.lower_pointwise import bias_of, fused_activation, pack_panels
from edgenet.prepare.lowering import Lowering, odd_lines

_P, _Q = 0.5**0.5, 2.0**0.5
_POINTS = {4: (0.0, _P, -_P, _Q, -_Q), 2: (0.0, 1.0, -1.0)}
"""Where the algorithms of stride 1 interpolate, besides infinity, by outputs of a tile."""
_STRIDED = [[1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
"""Transform of the weights for two outputs of stride 2."""
_LEAST_CHANNELS = 32
_LEAST_SIDE, _LEAST_STRIDED_SIDE, _LEAST_SIDE_OF_FOUR = 4, 9, 11
"""Least sides of outputs: of F(2x2), stride 2, F(4x4). Below, transforms, tiles that lie half outside of the image, and
reading more weights cost more than products save: a filter has 9 weights, 16 for F(2x2), 36 for F(4x4), 25 strided.
"""
_LEAST_STRIDED_PRODUCTS, _MOST_STRIDED_BYTES = 5, 16 << 20
"""Vectors of products, for each transformed value, from which on the third that stride 2 saves is worth transforms, and
an image's transformed values up to which caches help with these."""
_BLOCK_TILES = 6
"""Tiles of rows of a block of the products."""


def weight_transform(outputs: int, stride: int) -> np.ndarray:
    """G [window, 3] in float64; with stride 1 a row is (1, a, a^2) / prod(a - b) over the other points b."""
    if stride == 2:
        return np.array(_STRIDED)
    points = _POINTS[outputs]
    rows = [[a**k / np.prod([a - b for b in points if b != a]) for k in range(3)] for a in points]
    return np.array([*rows, [0.0, 0.0, 1.0]])


def transformed_weights(node: Node, lowering: Lowering, outputs: int, stride: int) -> np.ndarray:
    """G g G^T of every filter and input channel as float32 [position, O, C]."""
    g = weight_transform(outputs, stride)
    kernel = lowering.float_constant(node.inputs["weight"]).astype(np.float64)
    filters, *_, depth = kernel.shape
    return np.einsum("ai,bj,oijc->aboc", g, g, kernel).astype(np.float32).reshape(-1, filters, depth)


def winograd_tile(node: Node, lowering: Lowering) -> tuple[int, int] | None:
    """Outputs of a tile, in each dimension, and stride of the algorithm that is faster than direct products, if any."""
    a = node.attributes
    filters, height, width, depth = lowering.shape(node.inputs["weight"])
    _, out_height, out_width, _ = lowering.shape(node.output)
    if not lowering.winograd or (height, width, a["groups"]) != (3, 3, 1) or list(a["dilation"]) != [1, 1]:
        return None
    if min(filters, depth) < _LEAST_CHANNELS:
        return None
    side = min(out_height, out_width)
    if list(a["stride"]) == [1, 1] and side >= _LEAST_SIDE:
        return (4, 1) if side >= _LEAST_SIDE_OF_FOUR else (2, 1)
    if list(a["stride"]) == [2, 2] and side >= _LEAST_STRIDED_SIDE:
        products = filters * depth / (filters + depth)
        transformed = -(-out_height // 2) * -(-out_width // 2) * positions_of(2, 2) * (filters + depth) * 4
        if products >= _LEAST_STRIDED_PRODUCTS * lowering.target.lanes and transformed <= _MOST_STRIDED_BYTES:
            return 2, 2
    return None


def positions_of(outputs: int, stride: int) -> int:
    """Values of a tile's window, and matrices that are multiplied."""
    return ((outputs - 1) * stride + 3) ** 2


def _rows(tiles: int, target: InstructionSet) -> int:
    """Rows of the tile of the products: each asks for a part of the next weights, so that few rows take small ones."""
    usual, *others = winograd_rows(target)
    if tiles % usual == 0 or tiles > _BLOCK_TILES * usual:
        return usual
    return next((rows for rows in others if tiles % rows == 0), usual)


def winograd(node: Node, lowering: Lowering, outputs: int, stride: int) -> None:
    """The three steps: transform the input, multiply, transform the output. For the other two see `winograd_tile`."""
    weight = node.inputs["weight"]
    filters, _, _, depth = lowering.shape(weight)
    positions = positions_of(outputs, stride)
    batch, in_height, in_width, _ = lowering.shape(node.inputs["x"])
    _, out_height, out_width, _ = lowering.shape(node.output)
    top, _, left, _ = node.attributes["padding"]
    tiles_y, tiles_x = -(-out_height // outputs), -(-out_width // outputs)
    tiles = batch * tiles_y * tiles_x
    lanes = lowering.target.lanes
    height, vectors = _rows(tiles, lowering.target), gemm_tile(lowering.target)[1]
    width = vectors * lanes

    def make() -> np.ndarray:
        matrices = transformed_weights(node, lowering, outputs, stride)
        return np.stack([pack_panels(matrix, np.zeros(filters, np.float32), width, lanes) for matrix in matrices])

    packed = lowering.packed(("winograd", weight, width, outputs, stride), make)
    bias = node.inputs.get("bias")
    x_spread, y_spread = odd_lines(tiles * depth * 4), odd_lines(tiles * filters * 4)
    source, product = lowering.temporary(positions * x_spread), lowering.temporary(positions * y_spread)
    lowering.step(
        winograd_kernel("input", outputs, stride),
        units=batch * tiles_y,
        x=lowering.read(node.inputs["x"]),
        image_stride=in_height * in_width * depth * 4,
        row_stride=in_width * depth * 4,
        pixel_stride=depth * 4,
        zeros=lowering.packed(("zeros", depth), lambda: np.zeros(max(depth, 64), np.float32)),
        height=in_height,
        width=in_width,
        top=top,
        left=left,
        y=lowering.write(source),
        spread=x_spread,
        tiles_y=tiles_y,
        tiles_x=tiles_x,
        channels=depth,
    )
    blocks = -(-tiles // (_BLOCK_TILES * height))
    lowering.step(
        f"f32_winograd_{height}x{width}",
        units=positions * -(-filters // width) * blocks,
        x=lowering.read(source),
        x_spread=x_spread,
        y=lowering.write(product),
        y_spread=y_spread,
        weights=packed,
        weights_spread=packed.array.nbytes // positions,
        tiles=tiles,
        depth=depth,
        filters=filters,
        blocks=blocks,
        low=-np.inf,
        high=np.inf,
    )
    low, high, code = fused_activation(node)
    residual = node.inputs.get("residual")
    lowering.step(
        winograd_kernel("output", outputs, stride),
        units=batch * tiles_y,
        x=lowering.read(product),
        spread=y_spread,
        bias=lowering.packed(("bias", weight, bias), lambda: bias_of(node, lowering, filters)),
        y=lowering.write(node.output),
        residual=lowering.read(residual) if residual else 0,
        out_height=out_height,
        out_width=out_width,
        tiles_y=tiles_y,
        tiles_x=tiles_x,
        filters=filters,
        low=low,
        high=high,
        activation=code,
    )

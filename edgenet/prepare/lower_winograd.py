"""Lowering of 3x3 convolutions of stride 1 by Winograd's algorithm F(4x4, 3x3) in float32."""

from __future__ import annotations

import numpy as np

from edgenet.graph import Node
from edgenet.kernels.table_float import gemm_tile
from edgenet.prepare.lower_pointwise import bias_of, fused_activation, pack_panels
from edgenet.prepare.lowering import Lowering, odd_lines

_P, _Q = 0.5**0.5, 2.0**0.5
_POINTS = (0.0, _P, -_P, _Q, -_Q)
_LEAST_CHANNELS, _LEAST_SIDE = 32, 12
"""Below, the transforms, or tiles that lie half outside of the image, cost more than the products save."""


def weight_transform() -> np.ndarray:
    """G [6, 3] of the interpolation points, in float64: row j is (1, a, a^2) / prod(a - b) over the other points b."""
    rows = [[a**k / np.prod([a - b for b in _POINTS if b != a]) for k in range(3)] for a in _POINTS]
    return np.array([*rows, [0.0, 0.0, 1.0]])


def suits_winograd(node: Node, lowering: Lowering) -> bool:
    """Whether the transforms pay: a 3x3 kernel of stride 1 over a large enough image with enough channels."""
    a = node.attributes
    filters, height, width, depth = lowering.shape(node.inputs["weight"])
    _, out_height, out_width, _ = lowering.shape(node.output)
    return (
        lowering.winograd
        and (height, width, a["groups"]) == (3, 3, 1)
        and list(a["stride"]) == [1, 1]
        and list(a["dilation"]) == [1, 1]
        and min(filters, depth) >= _LEAST_CHANNELS
        and min(out_height, out_width) >= _LEAST_SIDE
    )


def winograd(node: Node, lowering: Lowering) -> None:
    """The three steps: transform the input, multiply, transform the output."""
    weight = node.inputs["weight"]
    filters, _, _, depth = lowering.shape(weight)
    batch, in_height, in_width, _ = lowering.shape(node.inputs["x"])
    _, out_height, out_width, _ = lowering.shape(node.output)
    top, _, left, _ = node.attributes["padding"]
    tiles_y, tiles_x = -(-out_height // 4), -(-out_width // 4)
    tiles = batch * tiles_y * tiles_x
    height, vectors = gemm_tile(lowering.target)
    lanes = lowering.target.lanes
    width = vectors * lanes

    def make() -> np.ndarray:
        g = weight_transform()
        kernel = lowering.float_constant(weight).astype(np.float64)
        matrices = np.einsum("ai,bj,oijc->aboc", g, g, kernel).astype(np.float32).reshape(36, filters, depth)
        return np.stack([pack_panels(matrix, np.zeros(filters, np.float32), width, lanes) for matrix in matrices])

    packed = lowering.packed(("winograd", weight, width), make)
    bias = node.inputs.get("bias")
    x_spread, y_spread = odd_lines(tiles * depth * 4), odd_lines(tiles * filters * 4)
    source, product = lowering.temporary(36 * x_spread), lowering.temporary(36 * y_spread)
    lowering.step(
        "f32_winograd_input",
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
    blocks = -(-tiles // (6 * height))
    lowering.step(
        f"f32_winograd_{height}x{width}",
        units=36 * -(-filters // width) * blocks,
        x=lowering.read(source),
        x_spread=x_spread,
        y=lowering.write(product),
        y_spread=y_spread,
        weights=packed,
        weights_spread=packed.array.nbytes // 36,
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
        "f32_winograd_output",
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

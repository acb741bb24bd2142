"""Lowering of float32 convolutions of images of few channels, such as a network's first layer.

The image is copied into a buffer that holds its padding. Its rows are then convolved directly or, where that takes
fewer instructions, by Winograd's algorithm F(4x4, 3x3) (see `kernels.winograd_image_f32`).
"""

from __future__ import annotations

import numpy as np

from edgenet.graph import Node
from edgenet.kernels.table_float import IMAGE_DEPTHS, IMAGE_TILE, IMAGE_TILES, image_width, window_tile
from edgenet.prepare.lower_pointwise import bias_of, common_slots, pack_panels
from edgenet.prepare.lower_winograd import positions_of, transformed_weights
from edgenet.prepare.lowering import IMAGE_CHANNELS, Lowering, lowers
from edgenet.prepare.plan import Value

_STEP = IMAGE_TILE * IMAGE_TILES
"""Columns of the output that are computed at a time."""
_MOST_WASTE = 1.35
"""Pixels of the tiles for each of the output, up to which the products that Winograd's algorithm saves are more."""
_MOST_BYTES, _MOST_BYTES_WIDE = 4 << 20, 1 << 20
"""Bytes of an output up to which products, not memory, take the time; with vectors of 512 bits.

Only direct convolutions are computed by bands, which save memory where it is larger.
"""


@lowers("planar_conv2d")
def planar_conv2d(node: Node, lowering: Lowering) -> None:
    """conv2d whose input still lies in planes (NCHW), as the caller passed it."""
    image_convolution(node, lowering, planar=True)


def image_convolution(node: Node, lowering: Lowering, planar: bool) -> None:
    """Pads a copy of the input, then convolves its rows. `planar`: the input lies in planes."""
    if _suits_winograd(node, lowering):
        _winograd(node, lowering, planar)
    else:
        _direct(node, lowering, planar)


def _suits_winograd(node: Node, lowering: Lowering) -> bool:
    a, (channels, height, width, depth) = node.attributes, lowering.shape(node.inputs["weight"])
    if not lowering.winograd or (height, width, *a["stride"]) != (3, 3, 1, 1) or "residual" in node.inputs:
        return False
    _, out_height, out_width, _ = lowering.shape(node.output)
    rows, columns = -(-out_height // IMAGE_TILE) * IMAGE_TILE, -(-out_width // _STEP) * _STEP
    pixels = out_height * out_width
    return (
        depth in IMAGE_DEPTHS
        and channels % image_width(lowering.target) == 0
        and rows * columns <= _MOST_WASTE * pixels
        and pixels * channels * 4 <= (_MOST_BYTES_WIDE if lowering.target.lanes > 8 else _MOST_BYTES)
    )


def _padded(node: Node, lowering: Lowering, planar: bool, reach: tuple[int, int], behind: int = 0) -> dict[str, Value]:
    """The step that copies the image, and slots of the copy, whose rows and columns are at least as many as `reach`.

    `behind`: bytes behind the last pixel that may be read.
    """
    source, depth = node.inputs["x"], lowering.shape(node.inputs["weight"])[-1]
    batch, *size = lowering.shape(source)
    in_height, in_width = size[1:] if planar else size[:2]
    top, _, left, _ = node.attributes["padding"]
    padded_height, padded_width = max(reach[0], top + in_height), max(reach[1], left + in_width)
    row_bytes = padded_width * depth * 4
    image = lowering.temporary(batch * padded_height * row_bytes + behind)
    lowering.step(
        f"f32_pad_planes{depth}" if planar else "f32_pad_image",
        units=batch * padded_height,
        grain=16,
        x=lowering.read(source),
        image_stride=in_height * in_width * depth * 4,
        row_stride=in_width * 4 if planar else in_width * depth * 4,
        plane_stride=lowering.plane_bytes(source) if planar else 0,
        y=lowering.write(image),
        height=in_height,
        width=in_width,
        depth=depth,
        top=top,
        left=left,
        padded_height=padded_height,
        padded_width=padded_width,
    )
    return {"x": lowering.read(image), "image_stride": padded_height * row_bytes, "row_stride": row_bytes}


def _direct(node: Node, lowering: Lowering, planar: bool) -> None:
    weight = node.inputs["weight"]
    channels, kernel_height, kernel_width, depth = lowering.shape(weight)
    batch, out_height, out_width, _ = lowering.shape(node.output)
    stride_y, stride_x = node.attributes["stride"]
    reach = (out_height - 1) * stride_y + kernel_height, (out_width - 1) * stride_x + kernel_width
    height, vectors = window_tile(lowering.target)
    lanes = lowering.target.lanes
    width = vectors * lanes
    image = _padded(node, lowering, planar, reach)
    row_stride = image.pop("row_stride")

    def make() -> np.ndarray:
        matrix = lowering.float_constant(weight).reshape(channels, -1)
        return pack_panels(matrix, bias_of(node, lowering, channels), width, lanes)

    lowering.step(
        f"f32_image_{height}x{width}",
        units=batch * out_height,
        grain=2,
        **image,
        row_step=stride_y * row_stride,
        pixel_step=stride_x * depth * 4,
        tap_stride=row_stride,
        taps=kernel_height,
        depth=kernel_width * depth,
        weights=lowering.packed(("panels", weight, node.inputs.get("bias"), width), make),
        out_height=out_height,
        out_width=out_width,
        channels=channels,
        **common_slots(node, lowering, channels),
    )


def _winograd(node: Node, lowering: Lowering, planar: bool) -> None:
    weight = node.inputs["weight"]
    channels, _, _, depth = lowering.shape(weight)
    batch, out_height, out_width, _ = lowering.shape(node.output)
    tiles_y, width = -(-out_height // IMAGE_TILE), image_width(lowering.target)
    reach = tiles_y * IMAGE_TILE + 2, -(-out_width // _STEP) * _STEP + 2
    image = _padded(node, lowering, planar, reach, IMAGE_CHANNELS * 4)

    def make() -> np.ndarray:
        matrix = transformed_weights(node, lowering, IMAGE_TILE, 1).swapaxes(0, 1).reshape(channels, -1)
        return pack_panels(matrix, bias_of(node, lowering, channels), width, lowering.target.lanes)

    slots = common_slots(node, lowering, channels)
    del slots["residual"], slots["residual_stride"]
    values = positions_of(IMAGE_TILE, 1) * IMAGE_TILES * (IMAGE_CHANNELS + width)
    lowering.step(
        f"f32_winograd_image{depth}_{IMAGE_TILES}x{width}",
        units=batch * tiles_y,
        grain=1,
        **image,
        weights=lowering.packed(("winograd_image", weight, node.inputs.get("bias"), width), make),
        scratch=lowering.scratch(-(-values * 4 // 64) * 64),
        out_height=out_height,
        out_width=out_width,
        tiles_y=tiles_y,
        channels=channels,
        **slots,
    )

"""Lowering of float32 convolutions: which kernel serves which, and how their weights are packed."""

from __future__ import annotations

import numpy as np

from edgenet.graph import Node
from edgenet.kernels.table_float import (
    DEPTHWISE_3X3,
    DEPTHWISE_COLUMNS,
    DEPTHWISE_KERNELS,
    DEPTHWISE_ROWS,
    GENERAL_COLUMNS,
    depthwise_3x3_columns,
    gemm_tile,
)
from edgenet.prepare import lower_int8
from edgenet.prepare.groups import merge_filters, merged_groups
from edgenet.prepare.lower_image import image_convolution
from edgenet.prepare.lower_pointwise import HARDSWISH, bias_of, common_slots, matrix_product, pack_panels
from edgenet.prepare.lower_winograd import winograd, winograd_tile
from edgenet.prepare.lowering import IMAGE_CHANNELS, Lowering, lowers
from edgenet.prepare.partition import partition
from edgenet.prepare.plan import Value
from edgenet.prepare.strides import ALIASED_ROWS, LINE_BYTES


@lowers("conv2d")
def conv2d(node: Node, lowering: Lowering) -> None:
    """Convolution; int8 goes to `lower_int8`."""
    if lowering.dtype(node.inputs["x"]) == "int8":
        lower_int8.convolution(node, lowering)
        return
    weight, a = lowering.shape(node.inputs["weight"]), node.attributes
    _, kernel_height, kernel_width, depth = weight
    x = lowering.shape(node.inputs["x"])
    if a["groups"] > 1 and depth == 1 and weight[0] == a["groups"]:
        _depthwise(node, lowering)
    elif (
        (kernel_height, kernel_width, a["groups"]) == (1, 1, 1)
        and list(a["stride"]) == [1, 1]
        and not any(a["padding"])
    ):
        matrix_product(node, lowering, x[0] * x[1] * x[2])
    elif depth <= IMAGE_CHANNELS and a["groups"] == 1 and list(a["dilation"]) == [1, 1]:
        image_convolution(node, lowering, planar=False)
    elif tile := winograd_tile(node, lowering):
        winograd(node, lowering, *tile)
    else:
        _convolution(node, lowering)


def _geometry(node: Node, lowering: Lowering) -> dict[str, Value]:
    """Slots of the input image, the output size and the padding before."""
    _, height, width, _ = lowering.shape(node.inputs["x"])
    _, out_height, out_width, _ = lowering.shape(node.output)
    top, _, left, _ = node.attributes["padding"]
    row = lowering.row_bytes(node.inputs["x"])
    return {
        "x": lowering.read(node.inputs["x"]),
        "image_stride": height * row,
        "row_stride": row,
        "pixel_stride": lowering.pixel_bytes(node.inputs["x"]),
        "height": height,
        "width": width,
        "top": top,
        "left": left,
        "out_height": out_height,
        "out_width": out_width,
    }


_SHARED_PRODUCTS = 25_000
"""Vector products of an output row from which on threads without a row of their own share its blocks of channels: that
takes the kernel of any size, as those of one size share out rows."""
_KEPT_BYTES = 48 << 10
"""Input of an output row that the first-level cache keeps for the next one. Rows of more are computed in pairs."""
_HIGH_KERNEL, _GROUP_BYTES = 5, 24 << 10
"""Rows of a kernel from which on channels are taken in groups, and the bytes of a group's rows that are read again."""
_TILES_BYTES = 32 << 10
"""Bytes of a group of channels, of more than a cache line, in the rows of tiles of 3x3 kernels, which share columns.
An activation of more arithmetic than a clamp holds them up instead: such tiles take all channels."""
_LARGE_IMAGE = 1 << 20
"""Bytes of an image that comes from slow caches, whose prefetchers follow few rows at a time."""
_FEW_ROWS = 7
"""Rows of the input that a tile reads of such an image, or where rows share cache sets."""


def pack_depthwise(weight: np.ndarray, bias: np.ndarray, lanes: int) -> np.ndarray:
    """Weights [C, KH, KW, 1] and bias [C] as [block][bias, taps][lanes]; the last of several blocks ends with C."""
    channels = weight.shape[0]
    rows = np.concatenate([bias[None], weight.reshape(channels, -1).T])
    if channels < lanes:
        rows = np.pad(rows, ((0, 0), (0, lanes - channels)))
    starts = [min(i * lanes, rows.shape[1] - lanes) for i in range(-(-rows.shape[1] // lanes))]
    return np.stack([rows[:, start : start + lanes] for start in starts]).astype(np.float32)


def _depthwise(node: Node, lowering: Lowering) -> None:
    channels, kernel_height, kernel_width, _ = lowering.shape(node.inputs["weight"])
    (stride_y, stride_x), (dilation_y, dilation_x) = node.attributes["stride"], node.attributes["dilation"]
    lanes = lowering.target.lanes
    batch, out_height, out_width, _ = lowering.shape(node.output)
    width, blocks, units = lowering.shape(node.inputs["x"])[2], -(-channels // lanes), batch * out_height
    adjacent = (dilation_y, dilation_x) == (1, 1) and max(node.attributes["padding"][2:]) <= kernel_width // 2
    simple = (kernel_width, stride_x) in DEPTHWISE_KERNELS and adjacent
    work = out_width * blocks * kernel_height * kernel_width
    if units < lowering.threads and out_width >= GENERAL_COLUMNS and work >= _SHARED_PRODUCTS:
        simple = False

    def make() -> np.ndarray:
        return pack_depthwise(lowering.float_constant(node.inputs["weight"]), bias_of(node, lowering, channels), lanes)

    slots = _geometry(node, lowering) | common_slots(node, lowering, channels)
    slots |= {
        "weights": lowering.packed(("depthwise", node.inputs["weight"], node.inputs.get("bias"), lanes), make),
        "channels": channels,
        "zeros": _zeros(lowering, channels),
        "kernel_height": kernel_height,
        "stride_y": stride_y,
    }
    partial = "_partial" if channels < lanes else ""
    if not simple:
        units, work = units * blocks, work // blocks
    grain = max(1, min(1_500 // max(1, work), -(-units // (2 * lowering.threads))))
    row_bytes = lowering.row_bytes(node.inputs["x"])
    if simple and _goes_down(node, lowering, row_bytes):
        hardswish = "_hardswish" if slots["activation"] == HARDSWISH else ""
        for slot in ("kernel_height", "stride_y", "residual", "residual_stride", "activation"):
            del slots[slot]
        large = stride_y == 2 and lowering.shape(node.inputs["x"])[1] * row_bytes > _LARGE_IMAGE
        few = large or row_bytes % ALIASED_ROWS == 0
        slots["most_rows"] = (_FEW_ROWS - kernel_height) // stride_y + 1 if few else DEPTHWISE_ROWS
        rows = -(-units // lowering.threads)
        while rows > slots["most_rows"]:
            rows = -(-rows // 2)  # threads take half of what is left of theirs
        read_rows = (rows - 1) * stride_y + kernel_height
        group = _group(blocks, read_rows * width * lanes * 4, _TILES_BYTES, lanes)
        slots["group"] = group if group * lanes * 4 > LINE_BYTES and not hardswish else blocks
        lowering.step(f"f32_dw3x3s{stride_x}{hardswish}", units, max(grain, rows), **slots)
    elif simple:
        paired = out_width >= DEPTHWISE_COLUMNS - 1 and kernel_height * row_bytes > _KEPT_BYTES
        slots["paired"] = int(paired)
        rows = kernel_height + (stride_y if paired else 0)
        high = kernel_height >= _HIGH_KERNEL
        slots["group"] = _group(blocks, rows * width * lanes * 4, _GROUP_BYTES, lanes) if high else blocks
        if slots["group"] < blocks:
            grain = -(-units // (2 * lowering.threads))  # few rows at a time would be read again
        grain += grain % 2 if paired else 0
        lowering.step(f"f32_dw{kernel_width}s{stride_x}_{DEPTHWISE_COLUMNS}{partial}", units, grain, **slots)
    else:
        slots |= {
            "blocks": blocks,
            "kernel_width": kernel_width,
            "stride_x": stride_x,
            "dilation_y": dilation_y,
            "dilation_x": dilation_x,
        }
        lowering.step(f"f32_dw_any{partial}", units, grain, **slots)


def _group(blocks: int, block_bytes: int, most_bytes: int, lanes: int) -> int:
    """Blocks of channels that a thread takes through rows that it reads several times, before the next ones.

    `block_bytes`: what these rows hold of one block. As many blocks as are `most_bytes`, which the first-level cache
    keeps; at least one cache line of each pixel, and whole ones.
    """
    whole = max(1, LINE_BYTES // (lanes * 4))
    groups = -(-blocks // (max(1, most_bytes // (block_bytes * whole)) * whole))
    return -(-blocks // (groups * whole)) * whole


def _goes_down(node: Node, lowering: Lowering, row_bytes: int) -> bool:
    """Whether a depthwise convolution without dilation suits the kernels whose tiles go down the rows of the image.

    `row_bytes`: from one row of the image to the next.
    """
    channels, kernel_height, kernel_width, _ = lowering.shape(node.inputs["weight"])
    stride_y, stride_x = node.attributes["stride"]
    return (
        depthwise_3x3_columns(lowering.target) > 0
        and (kernel_height, kernel_width) == (3, 3)
        and stride_y == stride_x
        and stride_x in DEPTHWISE_3X3
        and max(node.attributes["padding"]) <= 1
        and channels >= lowering.target.lanes
        and lowering.shape(node.output)[2] > 1
        and (row_bytes % ALIASED_ROWS != 0 or kernel_height * row_bytes > _KEPT_BYTES)
        and "residual" not in node.inputs
    )


def _zeros(lowering: Lowering, count: int) -> Value:
    return lowering.packed(("zeros", count), lambda: np.zeros(max(count, 64), np.float32))


def _convolution(node: Node, lowering: Lowering) -> None:
    weight, a = node.inputs["weight"], node.attributes
    channels, kernel_height, kernel_width, depth = lowering.shape(weight)
    height, vectors = gemm_tile(lowering.target)
    lanes = lowering.target.lanes
    width = vectors * lanes
    merged = merged_groups(a["groups"], channels // a["groups"], lanes)
    groups, depth = a["groups"] // merged, depth * merged
    group_channels = channels // groups

    def make() -> np.ndarray:
        filters = lowering.float_constant(weight).reshape(channels, kernel_height * kernel_width, -1)
        matrix = merge_filters(filters, a["groups"], merged).reshape(groups, group_channels, -1)
        bias = bias_of(node, lowering, channels).reshape(groups, group_channels)
        return np.stack([pack_panels(matrix[g], bias[g], width, lanes) for g in range(groups)])

    batch, out_height, out_width, _ = lowering.shape(node.output)
    pixels = batch * out_height * out_width
    size = groups * -(-group_channels // lanes) * lanes * kernel_height * kernel_width * depth * 4
    packed = lowering.packed(("convolution", weight, node.inputs.get("bias"), a["groups"], width), make, size)
    slots = _geometry(node, lowering) | common_slots(node, lowering, channels)
    slots |= {
        "zeros": _zeros(lowering, depth),
        "kernel_height": kernel_height,
        "kernel_width": kernel_width,
        "stride_y": a["stride"][0],
        "stride_x": a["stride"][1],
        "dilation_y": a["dilation"][0],
        "dilation_x": a["dilation"][1],
        "weights": packed,
        "pixels": pixels,
        "depth": depth,
        "group_channels": group_channels,
        "group_bytes": packed.array.nbytes // groups,
        "groups": groups,
    }
    panels = -(-group_channels // width) * groups
    work = kernel_height * kernel_width * depth * height * vectors
    x_bytes = lowering.size(node.inputs["x"]) * 4
    part = partition(
        pixels, height, height - 1, panels, work, x_bytes, packed.array.nbytes, lowering.threads, cache=lowering.cache
    )
    lowering.step(f"f32_conv_{height}x{width}", part.units, 1, **slots, **part.slots())


@lowers("zero_stuff")
def zero_stuff(node: Node, lowering: Lowering) -> None:
    """The input of a transposed convolution with zeros between its pixels (see `prepare.fusion`)."""
    _, height, width, channels = lowering.shape(node.inputs["x"])
    batch, out_height, out_width, _ = lowering.shape(node.output)
    lowering.step(
        "f32_zero_stuff",
        units=batch * out_height,
        grain=4,
        x=lowering.read(node.inputs["x"]),
        y=lowering.write(node.output),
        height=height,
        width=width,
        channels=channels,
        stride_y=node.attributes["stride"][0],
        stride_x=node.attributes["stride"][1],
        crop_y=node.attributes["crop"][0],
        crop_x=node.attributes["crop"][1],
        out_height=out_height,
        out_width=out_width,
    )

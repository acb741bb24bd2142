"""Lowering of int8 standard convolutions, grouped ones included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgenet.graph import Node
from edgenet.kernels.table_int8 import IMAGE_SPARE_BYTES, gemm_tile, group_depth
from edgenet.prepare.groups import merge_filters, merged_groups
from edgenet.prepare.lower_int8_matrix import SCRATCH_BYTES, content, epilogue, first_sums, pack_panels, scratch_slots
from edgenet.prepare.lowering import IMAGE_CHANNELS, Lowering
from edgenet.prepare.partition import partition
from edgenet.prepare.plan import Operand, Packed, Value


def zero_points(lowering: Lowering, name: str, count: int) -> Packed:
    """`count` bytes (and a register more) that hold the zero point of a tensor."""
    zero = lowering.zero_point(name) & 0xFF
    size = -(-count // 64) * 64 + 64
    return lowering.packed(("s8_zero_points", zero, size), lambda: np.full(size, zero, np.uint8))


def geometry(node: Node, lowering: Lowering) -> dict[str, Value]:
    """Slots of the input image, the window and the output's size."""
    _, height, width, channels = lowering.shape(node.inputs["x"])
    _, out_height, out_width, _ = lowering.shape(node.output)
    _, kernel_height, kernel_width, _ = lowering.shape(node.inputs["weight"])
    a = node.attributes
    return {
        "x": lowering.read(node.inputs["x"]),
        "image_stride": height * width * channels,
        "row_stride": width * channels,
        "pixel_stride": channels,
        "height": height,
        "width": width,
        "kernel_height": kernel_height,
        "kernel_width": kernel_width,
        "stride_y": a["stride"][0],
        "stride_x": a["stride"][1],
        "dilation_y": a["dilation"][0],
        "dilation_x": a["dilation"][1],
        "top": a["padding"][0],
        "left": a["padding"][2],
        "out_height": out_height,
        "out_width": out_width,
    }


@dataclass(frozen=True)
class Image:
    """Where a convolution reads its input: height and width in pixels, bytes from one row and image to the next."""

    x: Operand | Packed
    height: int
    width: int
    row_stride: int
    image_stride: int


def padded_size(node: Node, lowering: Lowering) -> tuple[int, int]:
    """Height and width of the input with as much padding as the window reads."""
    a = node.attributes
    _, *size, _ = lowering.shape(node.inputs["x"])
    _, *out_size, _ = lowering.shape(node.output)
    kernel_size = lowering.shape(node.inputs["weight"])[1:3]
    top, _, left, _ = a["padding"]
    reach = [
        (out - 1) * stride + (kernel - 1) * dilation + 1
        for out, stride, kernel, dilation in zip(out_size, a["stride"], kernel_size, a["dilation"], strict=True)
    ]
    return max(reach[0], top + size[0]), max(reach[1], left + size[1])


def padded_image(node: Node, lowering: Lowering, size: tuple[int, int], phases: int = 1) -> Image:
    """The input as an image of this height and width with padding; adds the step that copies it where there is any.

    Of several `phases`, which divide the height, each has every so many rows, from its number on.
    """
    source = node.inputs["x"]
    batch, height, width, depth = lowering.shape(source)
    top, _, left, _ = node.attributes["padding"]
    padded_height, padded_width = size
    x: Operand | Packed = lowering.read(source)
    if (padded_height, padded_width) != (height, width):
        image = lowering.temporary(batch * padded_height * padded_width * depth)
        zero = lowering.zero_point(source) & 0xFF
        lowering.step(
            "any_pad",
            units=batch * padded_height,
            grain=16,
            x=x,
            y=lowering.write(image),
            n0=1,
            n1=1,
            n2=padded_height,
            phases=phases,
            m0=1,
            m1=1,
            m2=height,
            before0=0,
            before1=0,
            before2=top,
            before=left * depth,
            run=width * depth,
            after=(padded_width - left - width) * depth,
            pattern=zero * 0x01010101,
        )
        x = lowering.read(image)
    row_stride = padded_width * depth
    return Image(x, padded_height, padded_width, row_stride, padded_height * row_stride)


def _widened_image(node: Node, lowering: Lowering) -> Image:
    """The input with its padding, as int16; adds the step that copies it."""
    source = node.inputs["x"]
    batch, height, width, depth = lowering.shape(source)
    top, _, left, _ = node.attributes["padding"]
    padded_height, padded_width = padded_size(node, lowering)
    row_stride = -(-padded_width * depth * 2 // 64) * 64 + IMAGE_SPARE_BYTES
    image = lowering.temporary(batch * padded_height * row_stride)
    lowering.step(
        "s8_widen_image",
        units=batch * padded_height,
        grain=16,
        x=lowering.read(source),
        image_stride=height * width * depth,
        row_stride=width * depth,
        outside=zero_points(lowering, source, depth),
        y=lowering.write(image),
        y_stride=row_stride,
        padded_height=padded_height,
        height=height,
        top=top,
        before=left * depth,
        run=width * depth,
    )
    return Image(lowering.read(image), padded_height, padded_width, row_stride, padded_height * row_stride)


def joins_rows(node: Node, lowering: Lowering, depth: int, conv_groups: int = 1) -> bool:
    """Whether a kernel row is a single tap: it lies together in the input, and there are too few channels for each."""
    kernel_width = lowering.shape(node.inputs["weight"])[2]
    return depth <= IMAGE_CHANNELS and conv_groups == 1 and kernel_width > 1 and node.attributes["dilation"][1] == 1


def kernel_rows(node: Node, lowering: Lowering, widened: bool) -> dict[str, Value]:
    """Slots that make each kernel row of an image of few channels a single tap; adds the step that pads the image."""
    image = _widened_image(node, lowering) if widened else padded_image(node, lowering, padded_size(node, lowering))
    depth = lowering.shape(node.inputs["x"])[3]
    return geometry(node, lowering) | {
        "x": image.x,
        "image_stride": image.image_stride,
        "row_stride": image.row_stride,
        "pixel_stride": depth * 2 if widened else depth,
        "height": image.height,
        "width": image.width,
        "kernel_width": 1,
        "top": 0,
        "left": 0,
    }


def window_product(node: Node, lowering: Lowering) -> None:
    """Steps of a convolution of any kernel, stride, padding, dilation and groups."""
    weight, conv_groups = node.inputs["weight"], node.attributes["groups"]
    channels, kernel_height, kernel_width, depth = lowering.shape(weight)
    lanes, group = lowering.target.lanes, group_depth(lowering.target)
    merged = merged_groups(conv_groups, channels // conv_groups, lanes)
    conv_groups, depth = conv_groups // merged, depth * merged
    group_channels = channels // conv_groups
    height, second, vectors = gemm_tile(lowering.target)
    width = vectors * lanes
    image = joins_rows(node, lowering, depth, conv_groups)
    widened = group != 4
    slots = kernel_rows(node, lowering, widened) if image else geometry(node, lowering)
    taps, tap_depth = (kernel_height, kernel_width * depth) if image else (kernel_height * kernel_width, depth)
    groups = -(-tap_depth // group)

    def make() -> np.ndarray:
        filters = lowering.constant(weight).reshape(channels, kernel_height * kernel_width, -1)
        filters = merge_filters(filters, node.attributes["groups"], merged).reshape(channels, taps, tap_depth)
        full = np.zeros((channels, taps, groups * group), np.int8)
        full[:, :, :tap_depth] = filters
        matrix = full.reshape(conv_groups, group_channels, -1)
        bias = first_sums(node, lowering, filters).reshape(conv_groups, -1)
        multiplier = lowering.constant(node.inputs["multiplier"]).reshape(conv_groups, -1)
        parts = zip(matrix, bias, multiplier, strict=True)
        return np.stack([pack_panels(m, b, s, width, lowering.target) for m, b, s in parts])

    batch, out_height, out_width, _ = lowering.shape(node.output)
    pixels = batch * out_height * out_width
    key = ("s8_window", *content(node, lowering), width, lanes, group, node.attributes["groups"], image)
    packed = lowering.packed(key, make, channels * taps * groups * group)
    panels = -(-group_channels // width)
    work = taps * groups * height * vectors
    stride, most = 0, 1 << 30
    if widened and not image:
        stride = -(-(taps * groups * group + 32) // 32) * 64 + 64
        most = SCRATCH_BYTES // stride
    x_bytes = lowering.size(node.inputs["x"])
    part = partition(
        pixels, height, second, panels, work, x_bytes, packed.array.nbytes, lowering.threads, most, conv_groups
    )
    slots |= {
        "outside": zero_points(lowering, node.inputs["x"], depth),
        "weights": packed,
        **scratch_slots(lowering, stride, part.most_pixels(pixels)),
        "pixels": pixels,
        "depth": tap_depth,
        "groups": groups,
        "group_channels": group_channels,
        "packed_bytes": packed.array.nbytes // conv_groups,
        "conv_groups": conv_groups,
        **part.slots(),
        **epilogue(node, lowering, channels),
    }
    kind = "image" if image else "conv"
    lowering.step(f"s8_{kind}_{height}x{width}", part.units, 1, **slots)

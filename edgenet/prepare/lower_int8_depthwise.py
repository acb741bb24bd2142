"""Lowering of int8 depthwise convolutions."""

from __future__ import annotations

import numpy as np

from edgenet.graph import Node
from edgenet.kernels.table_int8 import DEPTHWISE_BANDS, group_bytes, group_depth
from edgenet.prepare.lower_int8_matrix import SUMS_BYTES, epilogue, folded_bias
from edgenet.prepare.lower_int8_window import geometry, zero_points
from edgenet.prepare.lowering import Lowering


def pack_depthwise(
    weight: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, lanes: int, group: int, band: int, stride: int
) -> np.ndarray:
    """Weights [C, KH, KW] as [block of lanes][bias, multiplier, band rows][groups of rows][KW][lanes][group], bytes.

    Output row r of the band has its taps in the input rows from r * stride on.
    """
    channels, height, width = weight.shape
    blocks = -(-channels // lanes)
    groups = -(-((band - 1) * stride + height) // group)
    head = np.zeros((2, blocks * lanes), np.int32)
    head[0, :channels], head[1, :channels] = bias, multiplier.astype(np.float32).view(np.int32)
    taps = np.zeros((blocks * lanes, band, groups * group, width), np.int8 if group == 4 else np.int16)
    for r in range(band):
        taps[:channels, r, r * stride : r * stride + height] = weight
    taps = taps.reshape(blocks, lanes, band, groups, group, width).transpose(0, 2, 3, 5, 1, 4)
    heads = head.reshape(2, blocks, lanes).swapaxes(0, 1)
    parts = [np.ascontiguousarray(part).view(np.uint8).reshape(blocks, -1) for part in (heads, taps)]
    return np.concatenate(parts, axis=1)


def depthwise(node: Node, lowering: Lowering) -> None:
    """Step of a depthwise convolution: as many filters as channels, each of one channel."""
    weight, a = node.inputs["weight"], node.attributes
    channels, height, width, _ = lowering.shape(weight)
    (stride_y, stride_x), (dilation_y, dilation_x) = a["stride"], a["dilation"]
    lanes, group = lowering.target.lanes, group_depth(lowering.target)
    fast = (height, width, stride_y, stride_x) in DEPTHWISE_BANDS and (dilation_y, dilation_x) == (1, 1)
    band = DEPTHWISE_BANDS[height, width, stride_y, stride_x] if fast else 1

    def make() -> np.ndarray:
        taps = lowering.constant(weight).reshape(channels, height, width)
        bias = folded_bias(node, lowering, taps)
        return pack_depthwise(taps, bias, lowering.constant(node.inputs["multiplier"]), lanes, group, band, stride_y)

    packed = lowering.packed(("s8_depthwise", node.name, weight, lanes, group, band), make)
    batch, out_height, out_width, _ = lowering.shape(node.output)
    columns = (out_width - 1) * stride_x + (width - 1) * dilation_x + 1
    groups = -(-((band - 1) * stride_y + height) // group)
    slots = geometry(node, lowering)
    scratch = -(-columns * groups * lanes * group_bytes(lowering.target) // 64) * 64
    slots |= {
        "outside": zero_points(lowering, node.inputs["x"], lanes),
        "weights": packed,
        "packed_bytes": packed.array.shape[1],
        "scratch": lowering.scratch(scratch + SUMS_BYTES),
        "scratch_bytes": scratch,
        "in_columns": columns,
        "channels": channels,
        **epilogue(node, lowering, channels),
    }
    name = "s8_dw_any"
    if fast:
        name = f"s8_dw{height}x{width}s{stride_y}"
        for known in ("kernel_height", "kernel_width", "stride_y", "stride_x", "dilation_y", "dilation_x"):
            del slots[known]
    units = batch * -(-out_height // band)
    work = band * out_width * height * width * -(-channels // lanes)
    grain = max(1, min(20_000 // max(1, work), -(-units // (4 * lowering.threads))))
    lowering.step(name, units, grain, **slots)

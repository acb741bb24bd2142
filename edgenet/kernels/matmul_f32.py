"""float32 products of two activations: one side is packed into panels as weights are, then multiplied as by weights."""

from __future__ import annotations

from collections.abc import Callable

from edgenet.kernels.gemm_f32 import panel_product
from edgenet.kernels.partition import block_start, unit_place
from edgenet.kernels.simd import lane_count, load_f32, multiply, splat_f32, store
from edgenet.kernels.simd_masked import load_partial_f32
from edgenet.kernels.tuples import least


def pack_panels(columns: int) -> Callable[..., None]:
    """scale * b of each product, [depth, channels], as panels of `columns` vectors with a bias of zeros.

    The layout is that of `gemm_f32`; a product's panels have `packed_bytes`. Unit: a panel.
    """

    def kernel(
        begin: int,
        end: int,
        thread: int,
        b: int,
        packed: int,
        packed_bytes: int,
        depth: int,
        channels: int,
        panels: int,
        scale: float,
    ):
        lanes = lane_count()
        width = columns * lanes
        for unit in range(begin, end):
            product, panel = unit // panels, unit % panels
            first = panel * width
            count = least(channels - first, width)
            padded = (count + lanes - 1) // lanes * lanes
            source = b + (product * depth * channels + first) * 4
            out = packed + product * packed_bytes + panel * (depth + 1) * width * 4
            for i in range(0, padded, lanes):
                store(splat_f32(0.0), out, i)
            for _ in range(depth):
                out += padded * 4
                i = 0
                while i + lanes <= count:
                    store(multiply(load_f32(source, i), scale), out, i)
                    i += lanes
                if i < count:
                    store(multiply(load_partial_f32(source, i, count - i), scale), out, i)
                source += channels * 4

    return kernel


def matmul(rows: int, columns: int) -> Callable[..., None]:
    """y = a @ b of each product: a [pixels, depth], b in panels (see `pack_panels`). Units: `partition` of each."""
    panel_of = panel_product(rows, columns)

    def kernel(
        begin: int,
        end: int,
        thread: int,
        a: int,
        y: int,
        packed: int,
        packed_bytes: int,
        pixels: int,
        depth: int,
        channels: int,
        blocks: int,
        spans: int,
        span: int,
        by_panel: int,
        quantum: int,
        low: float,
        high: float,
    ):
        width = columns * lane_count()
        panels = (channels + width - 1) // width
        each = blocks * spans
        for unit in range(begin, end):
            product = unit // each
            block, part = unit_place(unit % each, blocks, spans, by_panel)
            first = block_start(pixels, block, blocks, quantum)
            last = block_start(pixels, block + 1, blocks, quantum)
            x, out = a + product * pixels * depth * 4, y + product * pixels * channels * 4
            for panel in range(part * span, least(part * span + span, panels)):
                w = packed + product * packed_bytes + panel * (depth + 1) * width * 4
                operands = (x, depth * 4, out, channels * 4, 0, 0, w)
                channel = panel * width
                panel_of(operands, (low, high, 0), w, depth, first, last, channel, channels - channel)

    return kernel

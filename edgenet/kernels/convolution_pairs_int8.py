"""int8 standard convolution as an implicit matrix product of pairs of bytes (see `pairs_int8`).

A unit gathers its pixels' taps in the thread's scratch; there, they are the rows of a matrix product.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from edgenet.kernels.convolution_int8 import gatherer
from edgenet.kernels.pairs_int8 import panels_product
from edgenet.kernels.partition import block_start, unit_place
from edgenet.kernels.simd_bytes import copy_register, register_bytes


@njit(inline="always")
def _copy_row(source, destination, count):
    """Copies `count` bytes; reads and writes whole registers."""
    for i in range(0, count, register_bytes()):
        copy_register(source + i, destination + i)


def pair_convolution(rows: int, second: int, columns: int) -> Callable[..., None]:
    """Convolution of any kernel, stride, padding and dilation, without groups. Unit: see `partition`.

    `taken` is the depth of all taps. Panels, `order` and `groups` are those of `pairs_int8.pairs`. A thread's scratch
    holds a tile's pixels in their order, then a block's, `scratch_stride` bytes each. Pixels outside of the input are
    read from `outside`.
    """
    product = panels_product(rows, second, columns)
    gather = gatherer(_copy_row)

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        image_stride: int,
        row_stride: int,
        pixel_stride: int,
        outside: int,
        height: int,
        width: int,
        kernel_height: int,
        kernel_width: int,
        stride_y: int,
        stride_x: int,
        dilation_y: int,
        dilation_x: int,
        top: int,
        left: int,
        out_height: int,
        out_width: int,
        y: int,
        y_stride: int,
        residual: int,
        weights: int,
        order: int,
        order_stride: int,
        scratch: int,
        scratch_stride: int,
        scratch_bytes: int,
        pixels: int,
        depth: int,
        taken: int,
        groups: int,
        channels: int,
        blocks: int,
        spans: int,
        span: int,
        by_panel: int,
        quantum: int,
        plain: int,
        smallest: int,
        largest: int,
        low: float,
        high: float,
        zero: int,
        residual_zero: int,
        residual_multiplier: float,
        output_multiplier: float,
        activation: int,
        as_float: int,
    ):
        image = (x, image_stride, row_stride, pixel_stride, outside, height, width, groups)
        window = (
            kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x, top, left, out_height, out_width,
        )  # fmt: skip
        settings = (
            y, residual, low, high, residual_zero, residual_multiplier, output_multiplier, activation, as_float,
        )  # fmt: skip
        output = (plain, (zero, smallest, largest), settings)
        copies = (scratch + thread * scratch_bytes, scratch_stride)
        own = copies[0] + rows * scratch_stride
        packed = (weights, groups, order_stride, channels)
        for unit in range(begin, end):
            block, part = unit_place(unit, blocks, spans, by_panel)
            first = block_start(pixels, block, blocks, quantum)
            last = block_start(pixels, block + 1, blocks, quantum)
            gather(image, window, own, scratch_stride, depth, depth, first, last)
            source = (own, scratch_stride, first, copies, order, taken)
            product(source, (y, y_stride), output, packed, part * span, part * span + span, first, last)

    return kernel

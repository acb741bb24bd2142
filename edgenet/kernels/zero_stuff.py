"""Spreads an image over a larger one with zeros between its pixels: the input of a transposed convolution."""

from __future__ import annotations

from collections.abc import Callable

from edgenet.kernels.simd import lane_count, splat_f32
from edgenet.kernels.simd_masked import load_partial_f32, store_partial


def zero_stuff() -> Callable[..., None]:
    """y[i * stride_y - crop_y, j * stride_x - crop_x] = x[i, j], zero elsewhere. Unit: one output row."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        height: int,
        width: int,
        channels: int,
        stride_y: int,
        stride_x: int,
        crop_y: int,
        crop_x: int,
        out_height: int,
        out_width: int,
    ):
        lanes = lane_count()
        for unit in range(begin, end):
            place_y = unit % out_height + crop_y
            row_y = place_y // stride_y
            filled = place_y % stride_y == 0 and row_y < height
            row = x + ((unit // out_height) * height + row_y) * width * channels * 4
            for column in range(out_width):
                out = y + (unit * out_width + column) * channels * 4
                place_x = column + crop_x
                row_x = place_x // stride_x
                source = row + row_x * channels * 4
                if filled and place_x % stride_x == 0 and row_x < width:
                    for i in range(0, channels, lanes):
                        store_partial(load_partial_f32(source, i, channels - i), out, i, channels - i)
                else:
                    for i in range(0, channels, lanes):
                        store_partial(splat_f32(0.0), out, i, channels - i)

    return kernel

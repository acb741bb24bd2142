"""Copies an image of few channels into a buffer with its padding, channels last."""

from __future__ import annotations

from collections.abc import Callable

from edgenet.kernels.simd import lane_count, load_f32, load_scalar_f32, splat_f32, store, store_scalar_f32
from edgenet.kernels.simd_interleave import load_planes_f32, store_interleaved_f32
from edgenet.kernels.simd_masked import load_partial_f32, store_partial


def pad_image(channels: int) -> Callable[..., None]:
    """A padded row for each row of the image, with zeros around. Unit: one padded row.

    `channels` is 0 when the source is channels-last (rows are copied as they are), else the number of its planes.
    """

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        image_stride: int,
        row_stride: int,
        plane_stride: int,
        y: int,
        height: int,
        width: int,
        depth: int,
        top: int,
        left: int,
        padded_height: int,
        padded_width: int,
    ):
        lanes = lane_count()
        for unit in range(begin, end):
            in_y = unit % padded_height - top
            out = y + unit * padded_width * depth * 4
            if in_y < 0 or in_y >= height:
                for i in range(0, padded_width * depth, lanes):
                    store_partial(splat_f32(0.0), out, i, padded_width * depth - i)
            else:
                row = x + (unit // padded_height) * image_stride + in_y * row_stride
                start, stop, count = left * depth, (left + width) * depth, padded_width * depth
                for i in range(0, start, lanes):
                    store_partial(splat_f32(0.0), out, i, start - i)
                for i in range(stop, count, lanes):
                    store_partial(splat_f32(0.0), out, i, count - i)
                if channels == 0:
                    full = width * depth // lanes * lanes
                    for i in range(0, full, lanes):
                        store(load_f32(row, i), out, start + i)
                    if full < width * depth:
                        rest = width * depth - full
                        store_partial(load_partial_f32(row, full, rest), out, start + full, rest)
                else:
                    column = 0
                    while column + lanes <= width:
                        planes = load_planes_f32(row, plane_stride, column, channels)
                        store_interleaved_f32(planes, out, start + column * channels)
                        column += lanes
                    while column < width:
                        for channel in range(channels):
                            value = load_scalar_f32(row + channel * plane_stride, column)
                            store_scalar_f32(value, out, start + column * channels + channel)
                        column += 1

    return kernel

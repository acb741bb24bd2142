"""int8 depthwise convolution of whole blocks of channels, for layers that only requantize, at most with a hardswish.

As `depthwise_int8`, but a block is as many vectors of channels as a group has values: loads and stores are wide, and
interleaving takes few shuffles. The last block is moved back to end with the last channel. Weights are packed
[block][bias][multiplier][output row of the band][vector][groups of rows][kernel column].
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from edgenet.kernels.simd import lane_count, repeat
from edgenet.kernels.simd_depthwise_wide import depthwise_pixels, interleave_block
from edgenet.kernels.tuples import each_add, each_choose, each_multiply, each_within, greatest, least, sequence


def depthwise_wide(
    kernel_height: int, kernel_width: int, step_y: int, step_x: int, band: int, columns: int, group: int, hardswish: int
) -> Callable[..., None]:
    """Depthwise convolution of these kernel sizes and strides, at least `columns` - 1 outputs wide.

    `hardswish`: 1 if the activation is one (see `edgenet.kernels.epilogue_int8`).

    Unit: `band` output rows of one block of channels.
    """
    rows = (band - 1) * step_y + kernel_height
    groups = -(-rows // group)
    less = columns - 1

    @njit(inline="always")
    def interleave(image, own, column_bytes, start_y, left, in_columns):
        x, row_stride, pixel_stride, outside, height, width = image
        numbers = sequence(start_y, 1, rows)
        inside = each_within(numbers, height)
        border = repeat(outside, rows)
        places = each_choose(inside, each_add(each_multiply(numbers, row_stride), x), border)
        steps = each_multiply(inside, pixel_stride)
        first = least(left, in_columns)
        last = least(left + width, in_columns)
        for column in range(first):
            interleave_block(border, own + column * column_bytes, group)
        for column in range(first, last):
            interleave_block(places, own + column * column_bytes, group)
            places = each_add(places, steps)
        for column in range(greatest(first, last), in_columns):
            interleave_block(border, own + column * column_bytes, group)

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
        top: int,
        left: int,
        out_height: int,
        out_width: int,
        y: int,
        y_stride: int,
        weights: int,
        packed_bytes: int,
        scratch: int,
        scratch_bytes: int,
        in_columns: int,
        blocks: int,
        channels: int,
        zero: int,
        smallest: int,
        largest: int,
        output_multiplier: float,
    ):
        vector = lane_count() * 4
        block_channels = lane_count() * group
        column_bytes = groups * group * vector
        own = scratch + thread * scratch_bytes
        bounds = (zero, smallest, largest)
        bands = (out_height + band - 1) // band
        for unit in range(begin, end):
            channel = least((unit % blocks) * block_channels, channels - block_channels)
            out_y = (unit // blocks % bands) * band
            batch = unit // blocks // bands
            image = (x + batch * image_stride + channel, row_stride, pixel_stride, outside, height, width)
            interleave(image, own, column_bytes, out_y * step_y - top, left, in_columns)
            head = weights + (unit % blocks) * packed_bytes
            for r in range(least(band, out_height - out_y)):
                taps = head + 2 * group * vector + r * groups * group * kernel_width * vector
                out = y + (batch * out_height + out_y + r) * out_width * y_stride + channel
                first = 0
                while first < out_width:
                    if (out_width - first) % columns == 0:
                        depthwise_pixels(
                            own + first * step_x * column_bytes, head, taps, out + first * y_stride, y_stride, bounds,
                            output_multiplier, columns, groups, kernel_width, step_x, group, hardswish,
                        )  # fmt: skip
                        first += columns
                    else:
                        first = least(first, out_width - less)
                        depthwise_pixels(
                            own + first * step_x * column_bytes, head, taps, out + first * y_stride, y_stride, bounds,
                            output_multiplier, less, groups, kernel_width, step_x, group, hardswish,
                        )  # fmt: skip
                        first += less

    return kernel

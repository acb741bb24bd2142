"""int8 depthwise convolution of whole blocks of channels, for layers that only requantize, at most with a hardswish.

As `depthwise_int8`, but a block is as many vectors of channels as widening makes of a register of bytes, or half of it:
loads and stores are wide, and interleaving takes few shuffles. Interleaved rows lie in planes, a group of rows each,
that adjacent bands share (see `table_int8.plane_steps`). The last block is moved back to end with the last channel.
Weights are packed [block][bias][multiplier][output row of the band][vector][groups of rows][kernel column].
"""

from __future__ import annotations

from collections.abc import Callable

from edgenet.kernels.depthwise_int8 import interleaver
from edgenet.kernels.simd import lane_count
from edgenet.kernels.simd_depthwise_wide import depthwise_pixels, interleave_block
from edgenet.kernels.table_int8 import plane_steps
from edgenet.kernels.tuples import least


def depthwise_wide(
    kernel_height: int, kernel_width: int, step_y: int, step_x: int, band: int, columns: int, group: int, vectors: int,
    hardswish: int,
) -> Callable[..., None]:  # fmt: skip
    """Depthwise convolution of these kernel sizes and strides, at least `columns` - 1 outputs wide.

    A block is so many `vectors`. `hardswish`: 1 if the activation is one (see `edgenet.kernels.epilogue_int8`).

    The output divides into parts of `part_rows` rows, each of them into stacks of `stack_rows`, whose bands of `band`
    rows share interleaved rows. Unit: a stack of a block of channels.
    """
    rows = (band - 1) * step_y + kernel_height
    groups = -(-rows // group)
    apart, each_band, each_group = plane_steps(band * step_y, group)
    less = columns - 1
    fill_borders, interleave = interleaver(group, vectors, interleave_block)

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
        stack_rows: int,
        part_rows: int,
        blocks: int,
        channels: int,
        zero: int,
        smallest: int,
        largest: int,
        output_multiplier: float,
    ):
        vector = lane_count() * 4
        block_channels = lane_count() * vectors
        column_bytes = vectors * vector
        plane_bytes = in_columns * column_bytes
        own = scratch + thread * scratch_bytes
        bounds = (zero, smallest, largest)
        parts = (out_height + part_rows - 1) // part_rows
        stacks = (part_rows + stack_rows - 1) // stack_rows
        most_planes = (stack_rows - 1) // band * each_band + (groups - 1) * each_group + 1
        for plane in range(most_planes):
            fill_borders(outside, own + plane * plane_bytes, column_bytes, left, width, in_columns)
        for unit in range(begin, end):
            channel = least((unit % blocks) * block_channels, channels - block_channels)
            part_row = (unit // blocks % stacks) * stack_rows
            first_row = (unit // blocks // stacks % parts) * part_rows + part_row
            count = least(least(stack_rows, part_rows - part_row), out_height - first_row)
            batch = unit // blocks // stacks // parts
            image = (x + batch * image_stride + channel, row_stride, pixel_stride, outside, height, width)
            planes = (count - 1) // band * each_band + (groups - 1) * each_group + 1
            for plane in range(planes):
                start_y = first_row * step_y - top + plane * apart
                interleave(image, own + plane * plane_bytes, column_bytes, start_y, 1, left, in_columns)
            head = weights + (unit % blocks) * packed_bytes
            out = y + (batch * out_height + first_row) * out_width * y_stride + channel
            for row in range(count):
                taps = head + 2 * vectors * vector + row % band * groups * vectors * kernel_width * vector
                source = own + row // band * each_band * plane_bytes
                first = 0
                while first < out_width:
                    if (out_width - first) % columns == 0:
                        depthwise_pixels(
                            source + first * step_x * column_bytes, each_group * plane_bytes, head, taps,
                            out + first * y_stride, y_stride, bounds, output_multiplier,
                            columns, groups, kernel_width, step_x, vectors, hardswish,
                        )  # fmt: skip
                        first += columns
                    else:
                        first = least(first, out_width - less)
                        depthwise_pixels(
                            source + first * step_x * column_bytes, each_group * plane_bytes, head, taps,
                            out + first * y_stride, y_stride, bounds, output_multiplier,
                            less, groups, kernel_width, step_x, vectors, hardswish,
                        )  # fmt: skip
                        first += less
                out += out_width * y_stride

    return kernel

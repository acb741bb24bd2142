"""Where the rows of a tile of consecutive pixels lie, and where their windows of a convolution's input begin.

A tile may reach behind the last pixel of its block; its rows there repeat that pixel.
"""

from __future__ import annotations

from numba import njit

from edgenet.kernels.tuples import (
    each_add,
    each_choose,
    each_divide,
    each_minimum,
    each_multiply,
    each_remainder,
    each_within,
    progression,
    sequence,
)


@njit(inline="always")
def row_places(start, stride, pixel, last, count):
    """Addresses of `count` rows from `pixel` on: start + stride * pixel, with stride >= 0; pixels end before `last`."""
    found = progression(start + pixel * stride, stride, count)
    if pixel + count > last:
        found = each_minimum(found, start + (last - 1) * stride)
    return found


@njit(inline="always")
def window_places(x, steps, window, size, pixel, last, count):
    """(first input columns, first input rows, addresses) of the windows of `count` output pixels from `pixel` on.

    `steps`: bytes from one input image, row and pixel to the next; `window`: vertical and horizontal stride, padding
    above and on the left; `size`: the output's height and width. A whole tile that begins in one row of the output and
    ends in the next at most needs divisions for its first pixel alone: for all, they would outlast a small window.
    """
    image_step, row_step, pixel_step = steps
    stride_y, stride_x, top, left = window
    height, width = size
    if pixel + count <= last and count <= width:
        line = pixel // width
        column, image = pixel - line * width, line // height
        row = line - image * height
        y, next_y = row * stride_y - top, (row + 1) * stride_y - top
        next_image = image
        if row + 1 == height:
            next_y, next_image = -top, image + 1
        on_line = each_within(sequence(0, 1, count), width - column)
        in_x = progression(column * stride_x - left, stride_x, count)
        base = progression(
            x + image * image_step + y * row_step + (column * stride_x - left) * pixel_step,
            stride_x * pixel_step,
            count,
        )
        jump = (next_image - image) * image_step + (next_y - y) * row_step - width * stride_x * pixel_step
        return (
            each_choose(on_line, in_x, each_add(in_x, -width * stride_x)),
            each_choose(on_line, sequence(y, 0, count), next_y),
            each_choose(on_line, base, each_add(base, jump)),
        )
    pixels = each_minimum(sequence(pixel, 1, count), last - 1)
    lines = each_divide(pixels, width)
    in_x = each_add(each_multiply(each_remainder(pixels, width), stride_x), -left)
    in_y = each_add(each_multiply(each_remainder(lines, height), stride_y), -top)
    start = each_add(each_multiply(each_divide(lines, height), image_step), x)
    inside = each_add(each_multiply(in_y, row_step), each_multiply(in_x, pixel_step))
    return in_x, in_y, each_add(start, inside)

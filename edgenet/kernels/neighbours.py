"""Rows at the border between two threads' shares of an image: each reads some that the other has written.

A line that one core has changed and another reads is on its way for long, and then out of the first core's cache. Tiles
that go down rows meet such lines one at a time and wait for each; asked for together, many are on their way at once.
The other's rows come first: it takes this thread's meanwhile, which are fetched again after that.
"""

from numba import njit

from edgenet.kernels.simd import prefetch_l2
from edgenet.kernels.tuples import greatest, least

_LINES = 8
"""Cache lines asked for in a turn."""
_TURN_BYTES = 64 * _LINES
_MOST_BYTES = 64 << 10
"""Rows of more would be out of the second-level cache again when they are needed."""


@njit(inline="always")
def _ask(image, row_stride, height, first, end):
    """Ask for rows `first` to `end` - 1, those of them that the image has."""
    place, stop = image + greatest(first, 0) * row_stride, image + least(end, height) * row_stride
    while place < stop and row_stride <= _MOST_BYTES:
        prefetch_l2(place, _LINES)
        place += _TURN_BYTES


@njit(inline="always")
def ask_at_border(border, below, x, image_stride, row_stride, height, out_height, step, top, kernel_height):
    """Ask for the rows that the outputs on both sides of a border may need, if it lies within an image.

    The border lies before output row `border` (counted over all images), `below` or above this thread's outputs. `step`
    and `top`: the stride and the padding of the convolution, in rows.
    """
    if border % out_height == 0:
        return
    image, line = x + border // out_height * image_stride, border % out_height * step
    end = line - step - top + kernel_height
    if below:
        _ask(image, row_stride, height, line, end)
    _ask(image, row_stride, height, line - top, line)
    if not below:
        _ask(image, row_stride, height, line, end)

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
def ask_above(image, row_stride, height, first, step, top, kernel_height):
    """Ask for the rows of an image that both output row `first`, the thread's first, and the one before it may need.

    `step` and `top`: the stride and the padding of a convolution, in rows.
    """
    own = first * step
    _ask(image, row_stride, height, own - top, own)
    _ask(image, row_stride, height, own, own - step - top + kernel_height)


@njit(inline="always")
def ask_below(image, row_stride, height, end, step, top, kernel_height):
    """As `ask_above`, for output row `end` - 1, the thread's last, and the one after it."""
    others = end * step
    _ask(image, row_stride, height, others, others - step - top + kernel_height)
    _ask(image, row_stride, height, others - top, others)

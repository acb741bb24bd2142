"""The transforms of Winograd's algorithms in one dimension, on integers, by outputs of a tile.

F(4, 3) interpolates at 0, +-1, +-2 and infinity. So that all operands are integers, the weights' transform is
multiplied by 24 across and 24 down, of which factors are left to the output's (g, d, y: weights, window, outputs):

    U = 6 g0, g0 + g1 + g2, g0 - g1 + g2, g0 + 2 g1 + 4 g2, g0 - 2 g1 + 4 g2, 6 g2
    V = 4 d0 - 5 d2 + d4, -4 d1 - 4 d2 + d3 + d4, 4 d1 - 4 d2 - d3 + d4, -2 d1 - d2 + 2 d3 + d4, 2 d1 - d2 - 2 d3 + d4,
        4 d1 - 5 d3 + d5
    M = U V
    24 y0 = M0 - 4 (M1 + M2) + (M3 + M4)     12 y1 = -2 (M1 - M2) + (M3 - M4)
     6 y2 =     - (M1 + M2) + (M3 + M4)       6 y3 =   - (M1 - M2) + 2 (M3 - M4) + M5

F(2, 3) interpolates at 0, +-1 and infinity, the weights' transform multiplied by 2:

    U = 2 g0, g0 + g1 + g2, g0 - g1 + g2, 2 g2
    V = d0 - d2, d2 + d1, d2 - d1, d3 - d1
    M = U V
    2 y0 = M0 + M1 + M2     2 y1 = M1 - M2 + M3

Both ways, U and V fit in int16. Sums are int32 and may wrap around: what counts is 9 * 2**n * y, or 4 y, modulo 2**32,
with n up to 6. The inverse of 9 and a shift give y itself, where |y| < 2**25 (`edgenet.prepare.lower_int8_winograd`
makes sure).
"""

from __future__ import annotations

from numba import njit

from edgenet.kernels.simd_convert import int_add, int_multiply, int_subtract, shift_left, shift_right
from edgenet.kernels.tuples import greatest

INVERSE_OF_9 = 954437177
"""Modulo 2**32."""


@njit(inline="always")
def _input_line_4(d):
    """V of a line of a window."""
    d0, d1, d2, d3, d4, d5 = d
    even, odd = int_subtract(d4, d2), shift_left(int_subtract(d3, d1), 1)
    even_4, odd_4 = int_subtract(d4, shift_left(d2, 2)), int_subtract(d3, shift_left(d1, 2))
    return (
        int_add(shift_left(int_subtract(d0, d2), 2), even),
        int_add(even_4, odd_4),
        int_subtract(even_4, odd_4),
        int_add(even, odd),
        int_subtract(even, odd),
        int_subtract(int_subtract(d5, d3), shift_left(odd, 1)),
    )


@njit(inline="always")
def _output_line_4(m):
    """24 y0, 12 y1, 6 y2 and 6 y3."""
    m0, m1, m2, m3, m4, m5 = m
    sum_1, difference_1 = int_add(m1, m2), int_subtract(m1, m2)
    sum_2, difference_2 = int_add(m3, m4), int_subtract(m3, m4)
    return (
        int_add(int_subtract(m0, shift_left(sum_1, 2)), sum_2),
        int_subtract(difference_2, shift_left(difference_1, 1)),
        int_subtract(sum_2, sum_1),
        int_add(int_subtract(shift_left(difference_2, 1), difference_1), m5),
    )


@njit(inline="always")
def _sums_4(z, row):
    """The sums of a row of outputs, the last one first, from the lines of both directions."""
    shift = greatest(3 - row, 1)
    return (
        shift_right(int_multiply(z[3], INVERSE_OF_9), shift + 1),
        shift_right(int_multiply(z[2], INVERSE_OF_9), shift + 1),
        shift_right(int_multiply(z[1], INVERSE_OF_9), shift + 2),
        shift_right(int_multiply(z[0], INVERSE_OF_9), shift + 3),
    )


@njit(inline="always")
def _input_line_2(d):
    """V of a line of a window."""
    return int_subtract(d[0], d[2]), int_add(d[2], d[1]), int_subtract(d[2], d[1]), int_subtract(d[3], d[1])


@njit(inline="always")
def _output_line_2(m):
    """2 y0 and 2 y1."""
    return int_add(m[0], int_add(m[1], m[2])), int_add(int_subtract(m[1], m[2]), m[3])


@njit(inline="always")
def _sums_2(z, row):
    """The sums of a row of outputs, the last one first, from the lines of both directions."""
    return shift_right(z[1], 2), shift_right(z[0], 2)


INPUT_LINE = {4: _input_line_4, 2: _input_line_2}
"""Transforms of the input, by outputs of a tile."""
OUTPUT_LINE = {4: _output_line_4, 2: _output_line_2}
"""Transforms of the products."""
SUMS = {4: _sums_4, 2: _sums_2}
"""From what both transforms of the products make to the sums."""

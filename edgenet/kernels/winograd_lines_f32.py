"""The transforms of Winograd's algorithms in one dimension, for kernels of three taps, by outputs of a tile and stride.

F(4, 3) interpolates at 0, +-sqrt(1/2), +-sqrt(2) and infinity, which keep the rounding error low; F(2, 3) at 0, +-1 and
infinity. With stride 2, outputs are F(2, 2) of the three even inputs and the outer taps, at 0, 1 and infinity, plus the
products of the odd inputs and the middle tap.
"""

from __future__ import annotations

from numba import njit

from edgenet.kernels.simd import add, fma, multiply, subtract

P, Q = 0.5**0.5, 2.0**0.5
_P3, _Q3 = P**3, Q**3


@njit(inline="always")
def _input_lines_4(d):
    """B^T d over the first index."""
    even_p, odd_p = fma(d[2], -2.0, d[4]), fma(d[1], -2.0, d[3])
    even_q, odd_q = fma(d[2], -0.5, d[4]), fma(d[1], -0.5, d[3])
    return (
        fma(d[2], -2.5, add(d[0], d[4])),
        fma(odd_p, P, even_p),
        fma(odd_p, -P, even_p),
        fma(odd_q, Q, even_q),
        fma(odd_q, -Q, even_q),
        fma(d[3], -2.5, add(d[1], d[5])),
    )


@njit(inline="always")
def _output_lines_4(m):
    """A^T m over the first index."""
    sum_p, difference_p = add(m[1], m[2]), subtract(m[1], m[2])
    sum_q, difference_q = add(m[3], m[4]), subtract(m[3], m[4])
    return (
        add(add(m[0], sum_p), sum_q),
        fma(difference_q, Q, multiply(difference_p, P)),
        fma(sum_q, 2.0, multiply(sum_p, 0.5)),
        add(fma(difference_q, _Q3, multiply(difference_p, _P3)), m[5]),
    )


@njit(inline="always")
def _input_lines_2(d):
    """B^T d over the first index."""
    return subtract(d[2], d[0]), add(d[2], d[1]), subtract(d[2], d[1]), subtract(d[3], d[1])


@njit(inline="always")
def _output_lines_2(m):
    """A^T m over the first index."""
    return add(m[0], add(m[1], m[2])), add(subtract(m[1], m[2]), m[3])


@njit(inline="always")
def _input_lines_2_strided(d):
    """B^T d over the first index."""
    return subtract(d[0], d[2]), d[2], subtract(d[4], d[2]), d[1], d[3]


@njit(inline="always")
def _output_lines_2_strided(m):
    """A^T m over the first index."""
    return add(add(m[0], m[1]), m[3]), add(add(m[1], m[2]), m[4])


@njit(inline="always")
def _line_of_4(image, row):
    line = image[0]
    if row == 1:
        line = image[1]
    if row == 2:
        line = image[2]
    if row == 3:
        line = image[3]
    return line


@njit(inline="always")
def _line_of_2(image, row):
    line = image[0]
    if row == 1:
        line = image[1]
    return line


INPUT_LINES = {(4, 1): _input_lines_4, (2, 1): _input_lines_2, (2, 2): _input_lines_2_strided}
"""Transforms of the input by outputs of a tile and stride."""
OUTPUT_LINES = {(4, 1): _output_lines_4, (2, 1): _output_lines_2, (2, 2): _output_lines_2_strided}
"""Transforms of the products."""
LINE_OF = {4: _line_of_4, 2: _line_of_2}
"""A row of a tile of outputs."""
BACKWARDS = {
    4: njit(inline="always")(lambda line: (line[3], line[2], line[1], line[0])),
    2: njit(inline="always")(lambda line: (line[1], line[0])),
}
"""A row's outputs from the last to the first."""

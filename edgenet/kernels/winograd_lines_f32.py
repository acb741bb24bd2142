"""The transforms of Winograd's algorithms in one dimension, for kernels of three taps, by outputs of a tile and stride.

F(4, 3) interpolates at 0, +-sqrt(1/2), +-sqrt(2) and infinity, which keep the rounding error low; F(2, 3) at 0, +-1 and
infinity. With stride 2, outputs are F(2, 2) of the three even inputs and the outer taps, at 0, 1 and infinity, plus the
products of the odd inputs and the middle tap.
"""

from __future__ import annotations

from numba import njit

from edgenet.kernels.simd import add, fma, multiply, negative_fma, subtract

P, Q = 0.5**0.5, 2.0**0.5
INPUT_FACTORS = (P, Q, -0.5, -2.0, -2.5)
"""What `input_lines_4` multiplies by."""
OUTPUT_FACTORS = (P, Q, 0.5, 2.0, P**3, Q**3)
"""What `output_lines_4` multiplies by."""


@njit(inline="always")
def input_lines_4(d, factors):
    """B^T d over the first index."""
    p, q, minus_pp, minus_qq, minus_sum = factors
    even_p, odd_p = fma(d[2], minus_qq, d[4]), fma(d[1], minus_qq, d[3])
    even_q, odd_q = fma(d[2], minus_pp, d[4]), fma(d[1], minus_pp, d[3])
    return (
        fma(d[2], minus_sum, add(d[0], d[4])),
        fma(odd_p, p, even_p),
        negative_fma(odd_p, p, even_p),
        fma(odd_q, q, even_q),
        negative_fma(odd_q, q, even_q),
        fma(d[3], minus_sum, add(d[1], d[5])),
    )


@njit(inline="always")
def output_lines_4(m, factors):
    """A^T m over the first index."""
    p, q, pp, qq, ppp, qqq = factors
    sum_p, difference_p = add(m[1], m[2]), subtract(m[1], m[2])
    sum_q, difference_q = add(m[3], m[4]), subtract(m[3], m[4])
    return (
        add(add(m[0], sum_p), sum_q),
        fma(difference_q, q, multiply(difference_p, p)),
        fma(sum_q, qq, multiply(sum_p, pp)),
        add(fma(difference_q, qqq, multiply(difference_p, ppp)), m[5]),
    )


@njit(inline="always")
def _input_lines_4(d):
    return input_lines_4(d, INPUT_FACTORS)


@njit(inline="always")
def _output_lines_4(m):
    return output_lines_4(m, OUTPUT_FACTORS)


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

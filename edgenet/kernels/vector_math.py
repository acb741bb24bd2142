"""Transcendental functions of float32 vectors, to about 1e-6 relative. NaN stays NaN.

Polynomials of exp, log and tanh are those of Moshier's Cephes library.
"""

from __future__ import annotations

import math

from numba import njit

from edgenet.kernels.simd import absolute, add, clamp, divide, fma, maximum, minimum, multiply, subtract
from edgenet.kernels.simd_convert import (
    as_float,
    as_int,
    int_and,
    int_or,
    int_subtract,
    power_of_two,
    round_to_int,
    scale_by_normal_power,
    scale_by_power,
    shift_left,
    shift_right,
    to_float,
    where_less,
)

_LOG2E = 1.44269504088896341
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_INFINITY, _NAN = math.inf, math.nan
_TINY = 1.1754943508222875e-38
_SIGN = -(2**31)
_SQRT_HALF_BITS = 0x3F3504F3
_ONE_BITS = 0x3F800000


@njit(inline="always")
def _reduced(x):
    """n and exp(x - n ln 2) - 1 with |x - n ln 2| <= ln(2) / 2."""
    n = round_to_int(multiply(x, _LOG2E))
    whole = to_float(n)
    r = fma(whole, -_LN2_LOW, fma(whole, -_LN2_HIGH, x))
    p = fma(r, 1.9875691500e-4, 1.3981999507e-3)
    p = fma(p, r, 8.3334519073e-3)
    p = fma(p, r, 4.1665795894e-2)
    p = fma(p, r, 1.6666665459e-1)
    p = fma(p, r, 5.0000001201e-1)
    return n, fma(multiply(r, r), p, r)


@njit(inline="always")
def exponential(x):
    """exp(x)."""
    n, p = _reduced(clamp(x, -110.0, 90.0))
    return scale_by_power(add(p, 1.0), n)


@njit(inline="always")
def exponential_minus_one(x):
    """exp(x) - 1 for x <= 0."""
    n, p = _reduced(clamp(x, -80.0, 0.0))
    scale = power_of_two(n)
    return fma(p, scale, subtract(scale, 1.0))


@njit(inline="always")
def logarithm(x):
    """log(x)."""
    shifted = int_subtract(as_int(x), _SQRT_HALF_BITS)
    exponent = shift_right(shifted, 23)
    f = subtract(as_float(int_subtract(as_int(x), shift_left(exponent, 23))), 1.0)
    e = to_float(exponent)
    p = fma(f, 7.0376836292e-2, -1.1514610310e-1)
    p = fma(p, f, 1.1676998740e-1)
    p = fma(p, f, -1.2420140846e-1)
    p = fma(p, f, 1.4249322787e-1)
    p = fma(p, f, -1.6668057665e-1)
    p = fma(p, f, 2.0000714765e-1)
    p = fma(p, f, -2.4999993993e-1)
    p = fma(p, f, 3.3333331174e-1)
    square = multiply(f, f)
    tail = fma(e, _LN2_LOW, multiply(multiply(p, f), square))
    result = fma(e, _LN2_HIGH, add(f, fma(square, -0.5, tail)))
    result = where_less(x, _INFINITY, result, x)
    return where_less(x, 0.0, _NAN, where_less(x, _TINY, -_INFINITY, result))


@njit(inline="always")
def logarithm_one_plus(x):
    """log(1 + x) for 0 <= x <= 1: twice the area tangent of x / (2 + x)."""
    s = divide(x, add(x, 2.0))
    z = multiply(s, s)
    p = fma(z, 2.0 / 17.0, 2.0 / 15.0)
    p = fma(p, z, 2.0 / 13.0)
    p = fma(p, z, 2.0 / 11.0)
    p = fma(p, z, 2.0 / 9.0)
    p = fma(p, z, 2.0 / 7.0)
    p = fma(p, z, 2.0 / 5.0)
    p = fma(p, z, 2.0 / 3.0)
    return fma(multiply(p, z), s, multiply(s, 2.0))


@njit(inline="always")
def sigmoid(x):
    """1 / (1 + exp(-x)), where exp(-x) is a normal number or infinite."""
    n, p = _reduced(clamp(multiply(x, -1.0), -87.0, 89.0))
    return divide(1.0, add(scale_by_normal_power(add(p, 1.0), n), 1.0))


@njit(inline="always")
def hyperbolic_tangent(x):
    """tanh(x)."""
    size = absolute(x)
    z = multiply(x, x)
    p = fma(z, -5.70498872745e-3, 2.06390887954e-2)
    p = fma(p, z, -5.37397155531e-2)
    p = fma(p, z, 1.33314422036e-1)
    p = fma(p, z, -3.33332819422e-1)
    near = fma(multiply(p, z), x, x)
    far = subtract(1.0, divide(2.0, add(exponential(multiply(size, 2.0)), 1.0)))
    far = as_float(int_or(as_int(far), int_and(as_int(x), _SIGN)))
    return where_less(size, 0.625, near, far)


@njit(inline="always")
def softplus(x):
    """log(1 + exp(x))."""
    return add(maximum(0.0, x), logarithm_one_plus(exponential(multiply(absolute(x), -1.0))))


@njit(inline="always")
def floor(x):
    """The greatest whole number that is not greater; from 2**23 on, all are whole."""
    whole = to_float(round_to_int(x))
    return where_less(absolute(x), 2.0**23, where_less(x, whole, subtract(whole, 1.0), whole), x)


@njit(inline="always")
def _normal_error(x):
    """erf(x / sqrt(2)), to 3e-7 absolute: x times a rational minimax fit in x * x; from 5.54 on it rounds to 1."""
    square = multiply(x, x)
    p = fma(square, 4.4885531735872064e-08, 1.2705469998763874e-05)
    p = fma(p, square, 0.0003425484464969486)
    p = fma(p, square, 0.00938363652676344)
    p = fma(p, square, 0.06821836531162262)
    p = fma(p, square, 0.797884464263916)
    q = fma(square, 1.1886172615049873e-06, 7.434887083945796e-05)
    q = fma(q, square, 0.001898334943689406)
    q = fma(q, square, 0.028789695352315903)
    q = fma(q, square, 0.2521648705005646)
    q = fma(q, square, 1.0)
    sign = as_float(int_or(int_and(as_int(x), _SIGN), _ONE_BITS))
    return where_less(square, 5.54 * 5.54, multiply(x, divide(p, q)), sign)


@njit(inline="always")
def error_function(x):
    """erf(x), to 3e-7 absolute."""
    return where_less(x, _INFINITY, _normal_error(multiply(x, 1.41421356237)), where_less(0.0, x, 1.0, x))


@njit(inline="always")
def gelu(x):
    """x times the normal distribution's function: x / 2 (1 + erf(x / sqrt(2))), as precise as in PyTorch."""
    half = multiply(x, 0.5)
    return fma(half, _normal_error(x), half)


@njit(inline="always")
def mish_factor(x):
    """tanh(softplus(x)) = n / (n + 2) with n = e (e + 2), e = exp(x)."""
    e = exponential(minimum(20.0, x))
    n = multiply(e, add(e, 2.0))
    return divide(n, add(n, 2.0))

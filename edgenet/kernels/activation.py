"""float32 activations, elementwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.simd import absolute, add, clamp, divide, fma, lane_count, load_f32, multiply, square_root, store
from edgenet.kernels.simd_convert import where_less
from edgenet.kernels.simd_masked import load_partial_f32, store_partial
from edgenet.kernels.table_memory import ACTIVATIONS
from edgenet.kernels.tuples import least
from edgenet.kernels.vector_math import (
    error_function,
    exponential,
    exponential_minus_one,
    floor,
    gelu,
    hyperbolic_tangent,
    logarithm,
    mish_factor,
    sigmoid,
    softplus,
)

_GELU_TANH, _GELU_CUBE = 1.5957691216057308, 0.044715

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "clamp": lambda x, a, b: clamp(x, a, b),
    "leaky_relu": lambda x, a, b: where_less(x, 0.0, multiply(x, a), x),
    "elu": lambda x, a, b: where_less(0.0, x, x, multiply(exponential_minus_one(x), a)),
    "sigmoid": lambda x, a, b: sigmoid(x),
    "tanh": lambda x, a, b: hyperbolic_tangent(x),
    "silu": lambda x, a, b: multiply(x, sigmoid(x)),
    "hardsigmoid": lambda x, a, b: divide(clamp(add(x, 3.0), 0.0, 6.0), 6.0),
    "hardswish": lambda x, a, b: divide(multiply(x, clamp(add(x, 3.0), 0.0, 6.0)), 6.0),
    "gelu": lambda x, a, b: gelu(x),
    "gelu_tanh": lambda x, a, b: multiply(
        x, sigmoid(multiply(multiply(x, fma(multiply(x, x), _GELU_CUBE, 1.0)), _GELU_TANH))
    ),
    "softplus": lambda x, a, b: softplus(x),
    "mish": lambda x, a, b: multiply(x, mish_factor(x)),
    "exp": lambda x, a, b: exponential(x),
    "sqrt": lambda x, a, b: square_root(x),
    "square": lambda x, a, b: multiply(x, x),
    "abs": lambda x, a, b: absolute(x),
    "neg": lambda x, a, b: multiply(x, -1.0),
    "reciprocal": lambda x, a, b: divide(1.0, x),
    "log": lambda x, a, b: logarithm(x),
    "erf": lambda x, a, b: error_function(x),
    "floor": lambda x, a, b: floor(x),
    "step": lambda x, a, b: where_less(0.0, x, 1.0, 0.0),
}
"""Each activation as a function of a vector and its two parameters."""


def activation(number: int) -> Callable[..., None]:
    """y = ACTIVATIONS[number](x) with parameters a and b. Unit: `block` elements."""
    function = njit(inline="always")(_FUNCTIONS[ACTIVATIONS[number]])

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        count: int,
        block: int,
        a: float,
        b: float,
    ):
        lanes = lane_count()
        i = begin * block
        stop = least(end * block, count)
        while i + lanes <= stop:
            store(function(load_f32(x, i), a, b), y, i)
            i += lanes
        if i < stop:
            store_partial(function(load_partial_f32(x, i, stop - i), a, b), y, i, stop - i)

    return kernel

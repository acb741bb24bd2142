"""Random int8 layers, and their check against the oracle."""

from typing import Any

import numpy as np
import pytest

from edgenet.kernels.isa import InstructionSet
from tests.kernels.harness import ALL_TARGETS, check
from tests.ops.builder import one_node

each_target = pytest.mark.parametrize("target", ALL_TARGETS, ids=lambda t: t.name)
HARDSWISH: dict[str, Any] = {"activation": {"kind": "hardswish"}, "output_multiplier": 0.11}


def layer(rng, x, weight, x_zero=3, fill=None):
    """Arrays of an int8 layer: `x` and `weight` are shapes; the sums land around the range of int8."""
    products = int(np.prod(weight[1:]))
    arrays = {
        "x": rng.integers(-128, 128, x).astype(np.int8),
        "weight": rng.integers(-127, 128, weight).astype(np.int8),
        "bias": rng.integers(-5000, 5000, weight[0]).astype(np.int32),
        "multiplier": rng.uniform(0.3, 1.5, weight[0]).astype(np.float32) / np.float32(60 * np.sqrt(products)),
    }
    if fill is not None:
        arrays["x"][...], arrays["weight"][...] = fill
    return arrays, {"x": (0.5, x_zero), "weight": (1.0, 0)}


def run(
    target: InstructionSet,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    operation: str = "linear",
    residual: bool = False,
    output: tuple[float, int] | None = (0.25, -7),
    x_zero: int = 3,
    fill: tuple[int, int] | None = None,
    threads: int = 1,
    **attributes: Any,
):
    """Check one layer of random values. `output` None: float32."""
    rng = np.random.default_rng(sum(x) * 31 + sum(weight) + x_zero)
    arrays, quantization = layer(rng, x, weight, x_zero, fill)
    constants = ("weight", "bias", "multiplier")

    def graph():
        return one_node(
            operation, arrays, attributes, constants=constants, quantization=quantization, output=output,
            dtype="int8" if output else "float32",
        )  # fmt: skip

    built = graph()
    if residual:
        arrays["residual"] = rng.integers(-128, 128, built.tensors["y"].shape).astype(np.int8)
        quantization["residual"] = (0.1, 11)
        attributes["residual_multiplier"] = 0.7
        built = graph()
    return check(built, {name: arrays[name] for name in built.inputs}, target, threads)

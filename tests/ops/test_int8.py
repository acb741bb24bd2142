"""int8 references against loops that follow the definition one output at a time."""

import numpy as np
import pytest

from edgenet.graph import Quantization
from edgenet.ops.arithmetic import build_table, to_int8
from tests.ops.builder import run

rng = np.random.default_rng(1)
f32 = np.float32


def codes(*shape):
    return rng.integers(-128, 128, shape).astype(np.int8)


def round_clamp(f, zero, low=-128, high=127):
    """Round half to even with Python's own rounding, add the zero point in integers, clamp."""
    return max(low, min(high, round(float(f)) + zero))


def test_rounding_is_half_to_even_and_saturates():
    given = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e30, -1e30, np.nan, np.inf], np.float32)
    assert to_int8(given, 3).tolist() == [3, 5, 5, 3, 1, 127, -128, 3, 127]


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("kind", ["plain", "residual", "hardswish", "float"])
def test_conv2d(groups, kind):
    x, w = codes(2, 5, 6, 6), rng.integers(-127, 128, (6, 3, 2, 6 // groups)).astype(np.int8)
    bias, mult = rng.integers(-3000, 3000, 6).astype(np.int32), (rng.random(6) * 2e-3).astype(np.float32)
    arrays = {"x": x, "weight": w, "bias": bias, "multiplier": mult}
    attributes = {"stride": [2, 1], "padding": [1, 0, 1, 1], "groups": groups, "q_min": -100, "q_max": 90}
    quantization = {"x": (0.02, 5), "residual": (0.03, -7)}
    if kind == "residual":
        arrays["residual"] = codes(2, 2, 7, 6)
        attributes["residual_multiplier"] = 0.37
    if kind == "hardswish":
        attributes["activation"], attributes["output_multiplier"] = {"kind": "hardswish"}, 3.3
    output = None if kind == "float" else (0.05, -4)
    got = run(
        "conv2d",
        arrays,
        attributes,
        constants=("weight", "bias", "multiplier"),
        quantization=quantization,
        output=output,
    )
    per = 6 // groups
    for n, i, j, o in np.ndindex(*got.shape):
        acc = int(bias[o])
        for ky, kx, k in np.ndindex(3, 2, per):
            row, column = i * 2 + ky - 1, j + kx - 1
            if 0 <= row < 5 and 0 <= column < 6:
                acc += (int(x[n, row, column, o // per * per + k]) - 5) * int(w[o, ky, kx, k])
        f = f32(acc) * mult[o]
        if kind == "residual":
            f = f32(f + f32(int(arrays["residual"][n, i, j, o]) + 7) * f32(0.37))
        if kind == "hardswish":
            f = f32(f32(f * min(max(f32(f + f32(3)), f32(0)), f32(6))) * f32(3.3))
        want = f if kind == "float" else round_clamp(f, -4, -100, 90)
        assert got[n, i, j, o] == want


@pytest.mark.parametrize("operation", ["add", "sub", "mul"])
def test_binary(operation):
    a, b = codes(2, 3, 3, 4), codes(2, 1, 1, 4)
    attributes = {"multiplier": 0.011} if operation == "mul" else {"multiplier_a": 0.7, "multiplier_b": 0.3}
    got = run(operation, {"a": a, "b": b}, attributes, quantization={"a": (0.1, 3), "b": (0.2, -9)}, output=(0.3, 11))
    for index in np.ndindex(*got.shape):
        p, q = int(a[index]) - 3, int(b[index[0], 0, 0, index[3]]) + 9
        first, second = f32(p) * f32(0.7), f32(q) * f32(0.3)
        f = {"add": f32(first + second), "sub": f32(first - second), "mul": f32(p * q) * f32(0.011)}[operation]
        assert got[index] == round_clamp(f, 11)


def test_average_counts_only_valid_pixels():
    x = codes(1, 4, 4, 2)
    attributes = {
        "kernel": [3, 3],
        "stride": [2, 2],
        "padding": [1, 1, 1, 1],
        "count_include_pad": False,
        "multiplier": 1.3,
    }
    got = run("avg_pool2d", {"x": x}, attributes, quantization={"x": (0.1, 4)}, output=(0.2, -3))
    for _, i, j, c in np.ndindex(*got.shape):
        window = x[0, max(0, 2 * i - 1) : 2 * i + 2, max(0, 2 * j - 1) : 2 * j + 2, c].astype(int) - 4
        assert got[0, i, j, c] == round_clamp(f32(f32(window.sum()) / f32(window.size)) * f32(1.3), -3)


def test_mean():
    x = codes(2, 3, 5, 4)
    got = run("mean", {"x": x}, {"axes": [1, 2], "multiplier": 0.9}, quantization={"x": (0.1, -128)}, output=(0.1, 2))
    for n, c in np.ndindex(2, 4):
        total = int((x[n, :, :, c].astype(int) + 128).sum())
        assert got[n, 0, 0, c] == round_clamp(f32(f32(total) / f32(15)) * f32(0.9), 2)


def test_table_and_quantization_round_trip():
    source, result = Quantization((0.05,), -10), Quantization((1 / 256,), -128)
    table = build_table(lambda v: 1 / (1 + np.exp(-v)), source, result)
    assert np.all(np.diff(table.astype(int)) >= 0)
    x = codes(3, 7)
    got = run(
        "table", {"x": x, "table": table}, constants=("table",), quantization={"x": (0.05, -10)}, output=(1 / 256, -128)
    )
    assert np.array_equal(got, table[x.astype(int) + 128])
    real = run("dequantize", {"x": x}, quantization={"x": (0.05, -10)}, dtype="float32")
    assert np.array_equal(run("quantize", {"x": real}, {"inverse_scale": 20.0}, output=(0.05, -10)), x)


def test_concat_rescales_only_where_needed():
    a, b = codes(2, 3), codes(2, 4)
    got = run(
        "concat",
        {"x0": a, "x1": b},
        {"axis": 1, "multipliers": [1.0, 0.5]},
        quantization={"x0": (0.1, 5), "x1": (0.05, 0)},
        output=(0.1, 5),
    )
    assert np.array_equal(got[:, :3], a)
    assert got[:, 3:].ravel().tolist() == [round_clamp(f32(int(v)) * f32(0.5), 5) for v in b.ravel()]

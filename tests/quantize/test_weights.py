"""int8 weights with their biases and multipliers; weight-only storage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet import reference
from edgenet.converter.quantize import compress
from edgenet.converter.quantize.weights import LARGEST_BIAS, quantize_weights
from edgenet.errors import ConversionError
from tests.quantize.networks import build, samples, sqnr, validate

rng = np.random.default_rng(6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1e-30, 1e-12, 1e-4, 1.0, 300.0]), min_size=4, max_size=4), st.floats(1e-6, 10))
def test_each_channel_is_rounded_to_its_own_scale(spread, input_scale):
    weight = rng.standard_normal((4, 3, 3, 5)) * np.asarray(spread).reshape(4, 1, 1, 1)
    bias = rng.standard_normal(4)
    found = quantize_weights(weight.astype(np.float32), bias.astype(np.float32), input_scale)
    assert found.weight.dtype == np.int8
    assert found.bias.dtype == np.int32
    assert np.abs(found.weight.astype(int)).max() <= 127
    assert np.abs(found.bias.astype(np.int64)).max() <= LARGEST_BIAS
    assert np.all(np.isfinite(found.scale) & (found.scale > 0))
    real = found.weight * found.scale.reshape(4, 1, 1, 1)
    assert np.all(np.abs(real - weight).max((1, 2, 3)) <= found.scale * 0.5001 + 1e-7 * np.abs(weight).max((1, 2, 3)))
    step = input_scale * found.scale
    assert np.all(np.abs(found.bias * step - bias) <= 0.5001 * step + 1e-6 * np.abs(bias))


def test_a_channel_of_zeros_keeps_its_bias():
    found = quantize_weights(np.zeros((2, 1, 1, 3), np.float32), np.array([2.5, 0], np.float32), 0.1)
    assert not found.weight.any()
    assert found.bias[0] * found.scale[0] * 0.1 == pytest.approx(2.5)
    assert np.all((0.1 * found.scale).astype(np.float32) > 0)


def test_large_weights_of_an_input_that_is_always_zero_leave_the_bias_alone():
    """Sums in units of 0.02 * 1e6 / 127 could not hold it; weights beyond the result's unit saturate all the same."""
    weight = np.array([1e6, 0.5], np.float32).reshape(2, 1, 1, 1)
    bias = np.array([4.2, 4.2], np.float32)
    found = quantize_weights(weight, bias, 0.02, output_scale=0.03)
    assert found.bias * found.scale * 0.02 == pytest.approx(4.2, abs=0.015)
    assert found.weight.ravel().tolist() == [127, 127]
    assert np.all(0.02 * found.scale <= 0.0300001)
    assert found.scale[1] == pytest.approx(0.5 / 127)
    free = quantize_weights(weight, bias, 0.02)
    assert free.scale[0] == pytest.approx(1e6 / 127)


@pytest.mark.parametrize(("storage", "least"), [("int8", 30), ("float16", 60)])
@pytest.mark.parametrize("name", ["separable", "islands"])
def test_compressed_networks_run_in_float32(name, storage, least):
    graph = build(name)
    small = compress(graph, storage)
    validate(small)
    inputs = {graph.inputs[0]: samples(1)[0]}
    for key, want in reference.run(graph, inputs).items():
        assert sqnr(want, reference.run(small, inputs)[key]) > least
    size, before = (sum(array.nbytes for array in g.constants.values()) for g in (small, graph))
    assert size < before * (0.75 if storage == "int8" else 0.8)
    assert {array.dtype.name for array in graph.constants.values()} == {"float32"}, "the original is left as it was"
    again = compress(small, storage)
    assert again.constants.keys() == small.constants.keys()
    assert all(np.array_equal(again.constants[key], small.constants[key]) for key in small.constants)


def test_refused_storage_and_range():
    graph = build("separable")
    with pytest.raises(ConversionError, match="int8 or float16"):
        compress(graph, "int4")
    name = next(name for name, array in graph.constants.items() if array.ndim == 4)
    graph.constants[name] = graph.constants[name] * np.float32(1e6)
    with pytest.raises(ConversionError, match="65504"):
        compress(graph, "float16")

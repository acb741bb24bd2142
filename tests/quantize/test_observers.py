"""Histograms and the ranges chosen from them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet.converter.quantize import QuantizationOptions
from edgenet.converter.quantize.observers import HALF, Histogram
from edgenet.converter.quantize.ranges import choose, quantization, squared_error
from edgenet.errors import ConversionError
from edgenet.ops.arithmetic import quantize_array

rng = np.random.default_rng(5)


def histogram(*parts):
    found = Histogram("x")
    for part in parts:
        found.add(torch.from_numpy(np.asarray(part, np.float32)))
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-20, 20), min_size=1, max_size=5))
def test_growth_keeps_every_count_in_its_place(exponents):
    """Parts of very different size in any order: bins as wide as the largest needs, every value in its bin."""
    parts = [rng.standard_normal(50).astype(np.float32) * np.float32(2.0**e) for e in exponents]
    found, everything = histogram(*parts), np.concatenate(parts)
    assert found.counts.sum() == everything.size
    assert (found.low, found.high) == (everything.min(), everything.max())
    peak = np.abs(everything).max()
    assert found.width * HALF / 2 <= peak <= found.width * HALF
    cumulative = np.cumsum(found.counts.numpy())
    edges = (np.arange(2 * HALF) + 1 - HALF) * found.width
    sorted_values, rounding = np.sort(everything), found.width / 1024
    assert np.all(cumulative >= np.searchsorted(sorted_values, edges - rounding))
    assert np.all(cumulative <= np.searchsorted(sorted_values, edges + rounding))


def test_zeros_first_and_only_zeros():
    assert choose(histogram(np.zeros(9)), QuantizationOptions()).zero_point == 0
    found = histogram(np.zeros(9), [3.0, -1.0])
    assert found.counts.sum() == 11
    assert found.counts[HALF] == 9


def test_values_count_by_their_weights():
    found = Histogram("x")
    found.add(torch.tensor([0.0]), torch.tensor([2.0]))
    found.add(torch.tensor([1.0, 0.3, -3.0]), torch.tensor([0.5, 0.5, 0.0]))
    assert found.counts.sum() == 3.0
    assert (found.low, found.high) == (-3.0, 1.0)
    clipped = choose(found, QuantizationOptions())
    assert (-128 - clipped.zero_point) * clipped.scale[0] > -2


def test_values_without_weight_leave_the_whole_range():
    found = Histogram("x")
    found.add(torch.tensor([1.0, -3.0]), torch.zeros(2))
    for ranges in ("mse", "percentile"):
        assert choose(found, QuantizationOptions(ranges=ranges)) == quantization(-3.0, 1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(ConversionError, match=r"undefined values in x"):
        histogram([1.0, bad])


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32))
def test_quantization_covers_the_range_and_stores_zero_exactly(p, q):
    low, high = min(p, q, 0.0), max(p, q, 0.0)
    found = quantization(low, high)
    scale, zero = found.scale[0], found.zero_point
    assert scale > 0
    assert scale == float(np.float32(scale))
    assert -128 <= zero <= 127
    assert quantize_array(np.zeros(1, np.float32), found)[0] == zero
    if high - low > 1e-28:
        assert scale * (-128 - zero) <= low + scale
        assert scale * (127 - zero) >= high - scale


def error(values, found):
    stored = quantize_array(values, found).astype(int)
    return float(np.square((stored - found.zero_point) * found.scale[0] - values).sum())


@pytest.mark.parametrize("make", [lambda n: rng.standard_normal(n), lambda n: np.maximum(rng.standard_normal(n), 0)])
def test_least_squares_clips_a_rare_outlier(make):
    values = np.append(make(2_000_000), 40.0).astype(np.float32)
    found = histogram(values)
    errors = {kind: error(values, choose(found, QuantizationOptions(kind))) for kind in ("minmax", "mse")}
    assert errors["mse"] < 0.5 * errors["minmax"]


def test_least_squares_keeps_a_uniform_range():
    values = rng.uniform(-1, 3, 100_000).astype(np.float32)
    found = choose(histogram(values), QuantizationOptions("mse"))
    assert found.scale[0] == pytest.approx(4 / 255, rel=0.01)


def test_error_of_the_histogram_is_that_of_the_values():
    values = rng.standard_normal(100_000).astype(np.float32)
    centres, counts = histogram(values).occupied()
    assert squared_error(centres, counts, -2.0, 2.5) == pytest.approx(error(values, quantization(-2.0, 2.5)), rel=0.02)


def test_percentile_leaves_out_the_tails():
    values = np.linspace(-1, 1, 100_001, dtype=np.float32)
    found = choose(histogram(values), QuantizationOptions("percentile", percentile=90))
    assert found.scale[0] * 255 == pytest.approx(1.8, rel=0.01)


def test_values_outside_the_bounds_do_not_count():
    values = np.append(rng.standard_normal(1000), -100.0).astype(np.float32)
    found = choose(histogram(values), QuantizationOptions("minmax"), (-3.0, None))
    assert found.scale[0] * 255 == pytest.approx(3 + values.max(), rel=0.01)


@pytest.mark.parametrize("options", [{"ranges": "best"}, {"percentile": 12}, {"percentile": 101}])
def test_options_that_make_no_sense(options):
    with pytest.raises(ConversionError):
        QuantizationOptions(**options)

"""Pairs of channels whose products are exact in int16, and the records that the kernel takes them from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenet.prepare import byte_pairs
from edgenet.prepare.byte_pairs import pair_channels
from edgenet.prepare.byte_quads import BLOCK, UNIT


def weights(outputs: int, depth: int, spread: float, seed: int = 0) -> np.ndarray:
    """int8 weights of a normal distribution, cut off at +-127."""
    values = np.random.default_rng(seed).normal(0, spread, (outputs, depth))
    return np.clip(np.rint(values), -127, 127).astype(np.int8)


def assert_quads(unit: np.ndarray) -> None:
    """No inputs take the int16 sum of a quad of a unit's weights [output, channel] beyond its range."""
    for quad in (unit[:, [0, 1, 4, 5]], unit[:, [2, 3, 6, 7]]):
        assert np.maximum(quad, 0).sum(axis=1).max() * 255 < 1 << 15
        assert np.minimum(quad, 0).sum(axis=1).min() * 255 >= -(1 << 15)


def check(matrix: np.ndarray, width: int) -> float:
    """Everything that `pair_channels` promises; returns the share of pairs that are not exact."""
    order, broken, quads = pair_channels(matrix, width)
    outputs, depth = matrix.shape
    panels, filled = -(-outputs // width), -(-depth // BLOCK) * BLOCK
    assert order.shape == (panels, filled)
    assert broken.shape == (panels, filled // 2)
    assert quads.shape == (panels, filled // UNIT)
    padded = np.zeros((panels * width, filled), np.int64)
    padded[:outputs, :depth] = matrix
    for panel in range(panels):
        for block in range(filled // BLOCK):
            places = order[panel, block * BLOCK : (block + 1) * BLOCK].astype(int)
            assert sorted(places) == list(range(BLOCK))
            used = min(max(-(-depth // 4) * 4 - block * BLOCK, 0), BLOCK)
            assert set(places[:used]) == set(range(used))
            taken = padded[panel * width : (panel + 1) * width, block * BLOCK + places]
            sums = np.abs(taken[:, ::2] + taken[:, 1::2]).max(axis=0)
            flags = broken[panel, block * BLOCK // 2 : (block + 1) * BLOCK // 2]
            assert (sums[~flags] <= 128).all()
            assert (sums[flags] >= 128).all()
            for unit in range(BLOCK // UNIT):
                if quads[panel, block * BLOCK // UNIT + unit]:
                    assert_quads(taken[:, unit * UNIT : (unit + 1) * UNIT])
    return float(broken.mean())


@given(
    st.integers(1, 40), st.integers(1, 70), st.sampled_from([8, 16, 32]), st.sampled_from([5.0, 40.0, 200.0]),
    st.integers(0, 99),
)  # fmt: skip
def test_pairs_are_exact_or_said_not_to_be(outputs, depth, width, spread, seed):
    check(weights(outputs, depth, spread, seed), width)


def test_small_weights_have_partners_and_great_ones_have_none():
    assert check(np.full((16, 64), 63, np.int8), 16) == 0
    assert check(np.full((16, 64), -64, np.int8), 16) == 0
    assert check(np.full((16, 64), 127, np.int8), 16) == 1
    assert check(np.full((16, 64), -127, np.int8), 16) == 1
    alternate = np.full((16, 64), 127, np.int8)
    alternate[:, ::2] = -127
    assert check(alternate, 16) == 0


def test_most_channels_of_trained_weights_find_a_partner():
    """Each pair of such channels suits 16 outputs with a probability of about 0.7."""
    matrix = weights(64, 512, 40.0)
    as_they_lie = np.abs(matrix[:, ::2].astype(np.int16) + matrix[:, 1::2]).reshape(4, 16, -1).max(axis=1) > 128
    assert as_they_lie.mean() > 0.2
    assert check(matrix, 16) < 0.02


@pytest.mark.parametrize(("spread", "least"), [(38.0, 0.4), (34.0, 0.7), (28.0, 0.95)])
def test_most_blocks_of_trained_weights_have_quads(spread, least):
    """Of 512 normally distributed weights whose greatest is 127, the spread is about 38; trained ones have less."""
    matrix = weights(64, 512, spread)
    quads = pair_channels(matrix, 16)[2]
    assert quads.mean() > least
    assert check(matrix, 16) < 0.02


def test_quads_come_first_in_their_block():
    quads = pair_channels(weights(64, 512, 38.0), 16)[2].reshape(-1, BLOCK // UNIT)
    assert quads[:, 0].mean() > quads[:, 1].mean() > 0
    assert not (quads[:, 1] & ~quads[:, 0]).any()


@pytest.mark.parametrize(
    ("weight", "quad"), [(32, True), (33, False), (-32, True), (-33, False), (-128, False), (0, True)]
)
def test_four_equal_weights_make_a_quad_up_to_a_fourth_of_the_range(weight, quad):
    _, _, quads = pair_channels(np.full((16, 32), weight, np.int8), 16)
    assert (quads == quad).all()


def test_weights_of_opposite_signs_do_not_add_up():
    matrix = np.full((16, 64), 64, np.int8)
    matrix[:, ::2] = -64
    assert pair_channels(matrix, 16)[2].all()
    check(matrix, 16)


def test_many_blocks_are_looked_at_in_parts(monkeypatch):
    matrix = weights(48, 160, 60.0)
    whole = pair_channels(matrix, 16)
    monkeypatch.setattr(byte_pairs, "_MOST_AT_ONCE", 7)
    for one, other in zip(whole, pair_channels(matrix, 16), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("depth", [1, 3, 4, 5, 15, 17, 20])
def test_zeros_fill_the_last_four(depth):
    check(np.full((3, depth), 127, np.int8), 16)

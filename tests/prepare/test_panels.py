"""Weights packed in panels: the last ones take no more than they need."""

import numpy as np
import pytest

from edgenet.kernels.isa import INSTRUCTION_SETS
from edgenet.kernels.table_int8 import group_depth
from edgenet.prepare import lower_int8_matrix, lower_pointwise

DEPTH = 12


def assert_panels_hold_all(channels: int, widths: list[int], width: int, lanes: int, half: int, wide: bool) -> None:
    """Whether the panels of a layer are so wide, hold its biases and weights, and zeros behind them."""
    weight = np.arange(channels * DEPTH, dtype=np.float32).reshape(channels, DEPTH)
    bias = -np.arange(channels, dtype=np.float32)
    packed = lower_pointwise.pack_panels(weight, bias, width, lanes, half, wide)
    panels = np.split(packed, np.cumsum([(DEPTH + 1) * width for width in widths]))
    assert len(panels.pop()) == 0
    rows = np.concatenate([panel.reshape(DEPTH + 1, -1) for panel in panels], axis=1)
    np.testing.assert_array_equal(rows[0, :channels], bias)
    np.testing.assert_array_equal(rows[1:, :channels], weight.T)
    assert not rows[:, channels:].any()


@pytest.mark.parametrize(
    ("channels", "widths"),
    [(8, [8]), (9, [16]), (24, [16, 8]), (33, [32, 8]), (64, [64]), (72, [64, 8]), (121, [64, 64]), (120, [64, 48, 8])],
)
def test_float32_panels_end_with_half_a_vector_where_it_is_enough(channels, widths):
    assert_panels_hold_all(channels, widths, width=64, lanes=16, half=8, wide=False)


@pytest.mark.parametrize(
    ("channels", "widths"),
    [(8, [8]), (16, [16]), (17, [24]), (24, [24]), (25, [16, 16]), (40, [16, 24]), (48, [16] * 3)],
)
def test_a_last_panel_that_is_a_vector_wider_takes_the_channels_of_one(channels, widths):
    assert_panels_hold_all(channels, widths, width=16, lanes=8, half=0, wide=True)


@pytest.mark.parametrize(("half", "widths"), [(8, [32, 32, 8]), (0, [32, 32, 16])])
def test_int8_panels_end_with_half_a_vector_where_it_is_enough(half, widths):
    target = INSTRUCTION_SETS["avx512"]
    channels, group = 70, group_depth(target)
    weight = np.arange(channels * DEPTH).reshape(channels, DEPTH).astype(np.int8)
    bias, multiplier = np.arange(channels, dtype=np.int32), np.linspace(0, 1, channels, dtype=np.float32)
    packed = lower_int8_matrix.pack_panels(weight, bias, multiplier, 32, target, half)
    sizes = [width * (8 + DEPTH * 4 // group) for width in widths]
    panels = np.split(packed, np.cumsum(sizes))
    assert len(panels.pop()) == 0
    heads = np.concatenate([p[: 8 * w].view(np.int32).reshape(2, w) for p, w in zip(panels, widths, strict=True)], 1)
    np.testing.assert_array_equal(heads[0, :channels], bias)
    np.testing.assert_array_equal(heads[1, :channels].view(np.float32), multiplier)
    bodies = [
        p[8 * w :].view(np.int16).reshape(-1, w, group).swapaxes(0, 1).reshape(w, DEPTH)
        for p, w in zip(panels, widths, strict=True)
    ]
    np.testing.assert_array_equal(np.concatenate(bodies)[:channels], weight)

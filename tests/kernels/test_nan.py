"""The search for NaN in inputs."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet.engine.cache import load_kernels
from edgenet.engine.loader import ENTRY_TYPE
from edgenet.engine.team import slots_of
from edgenet.memory import address_of, aligned_words
from tests.kernels.harness import FLOAT_TARGETS, guarded

NANS = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFBFFFFF], np.uint32).view(np.float32)
"""Quiet and signalling ones of either sign."""
OTHERS = np.array([np.inf, -np.inf, 0.0, -0.0, 1e-45, 3.4e38, -3.4e38], np.float32)


def _holds_nan(values: np.ndarray, target) -> bool:
    kernel = load_kernels(["find_nan"], target)["find_nan"]
    found = aligned_words(1)
    slots = slots_of(kernel, x=address_of(values), count=values.size, found=address_of(found))
    ENTRY_TYPE(kernel.address)(ctypes.c_void_p(address_of(slots)), 0, 0, 0)
    assert found[0] in (0, 1)
    return bool(found[0])


@pytest.mark.parametrize("target", FLOAT_TARGETS, ids=lambda target: target.name)
@settings(deadline=None)
@given(count=st.integers(0, 200), seed=st.integers(0, 99))
def test_found_wherever_it_is_and_nowhere_else(target, count, seed):
    rng = np.random.default_rng(seed)
    values = guarded(rng.choice(OTHERS, count))
    values.base[-64:] = 0xFF  # NaN behind the last value
    assert not _holds_nan(values, target)
    if count:
        values[rng.integers(count)] = rng.choice(NANS)
        assert _holds_nan(values, target)

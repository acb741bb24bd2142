"""Constant data: where it lies, that it is a copy, that it is freed."""

from __future__ import annotations

import gc
import weakref
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgenet.memory import address_of
from edgenet.prepare.constants import BEHIND, Constants

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=60)


@given(st.lists(st.tuples(SHAPES, st.sampled_from(["f4", "i1", "i2", "i4"])), max_size=8), st.integers(0, 99))
def test_arrays_lie_apart_in_lines_of_their_own(kinds, seed):
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(rng.integers(-100, 100, shape)).astype(kind).T for shape, kind in kinds]
    constants = Constants()
    for number, array in enumerate(arrays):
        constants[number] = array
    ends = []
    for number, array in enumerate(arrays):
        found = constants[number]
        assert found.dtype == array.dtype
        assert found.flags.c_contiguous
        assert not np.shares_memory(found, array)
        assert address_of(found) % 64 == 0
        np.testing.assert_array_equal(found, array)
        ends.append((address_of(found), address_of(found) + found.nbytes + BEHIND))
    ends.sort()
    assert all(before[1] <= after[0] for before, after in pairwise(ends))


def test_large_arrays_have_room():
    constants = Constants()
    sizes = [100, 1 << 17, 9 << 20, 3, 5 << 20]
    for size in sizes:
        constants[size] = np.full(size, size % 251, np.uint8)
    for size in sizes:
        assert (constants[size] == size % 251).all()


def test_clearing_frees_the_memory():
    constants = Constants()
    constants["weights"] = np.ones(1 << 20, np.uint8)
    base = constants["weights"]
    while isinstance(base.base, np.ndarray):
        base = base.base
    alive = weakref.ref(base)
    del base
    constants.clear()
    gc.collect()
    assert alive() is None
    assert not constants
    constants["weights"] = np.arange(3)
    assert constants["weights"].tolist() == [0, 1, 2]

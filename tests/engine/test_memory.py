"""Memory that native code shares with Python."""

import numpy as np
import pytest

from edgenet.engine.memory import address_of, aligned_words, working_memory


@pytest.mark.parametrize("size", [1, 100, (1 << 20) - 1, 1 << 20, (2 << 20) + 1, 5_000_000])
def test_working_memory_is_aligned_writable_and_as_large_as_asked(size):
    memory = working_memory(size)
    assert (memory.dtype, memory.size) == (np.uint8, size)
    assert address_of(memory) % 64 == 0
    memory[...] = 7
    assert memory.sum(dtype=np.int64) == 7 * size


def test_words_begin_at_a_cache_line():
    assert address_of(aligned_words(3)) % 64 == 0
    assert not aligned_words(3).any()


def test_the_address_is_that_of_the_first_element_of_any_array():
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    fixed = array.copy()
    fixed.flags.writeable = False
    for each in (array, fixed, array[1:, ::2], array[::-1], np.empty((0, 3), np.float32)):
        assert address_of(each) == each.ctypes.data

"""Memory that native code shares with Python."""

import os
from pathlib import Path

import numpy as np
import pytest

from edgenet.memory import address_of, aligned_words, working_memory


@pytest.mark.parametrize("size", [1, 100, (512 << 10) - 1, 512 << 10, 1 << 20, (2 << 20) + 1, 5_000_000])
def test_working_memory_is_aligned_writable_and_as_large_as_asked(size):
    memory = working_memory(size)
    assert (memory.dtype, memory.size) == (np.uint8, size)
    assert address_of(memory) % 64 == 0
    memory[...] = 7
    assert memory.sum(dtype=np.int64) == 7 * size


@pytest.mark.parametrize(("size", "huge"), [(600_000, 600_000), (2_200_000, 2 << 20), (2_700_000, 2_700_000)])
def test_large_memory_is_private_and_asks_for_huge_pages(size: int, huge: int):
    """Of shared memory, the system's usual settings make small pages, whatever is asked for."""
    memory = working_memory(size)
    memory[...] = 1
    asked, begin, end = 0, address_of(memory), address_of(memory) + size
    for (first, last), (permissions, flags) in _ranges().items():
        if first < end and begin < last:
            assert permissions == "rw-p"
            asked += (min(last, end) - max(first, begin)) * ("hg" in flags)
    assert asked == huge


def _ranges() -> dict[tuple[int, int], tuple[str, list[str]]]:
    """Permissions and flags of each piece of this process's memory."""
    found, place, permissions = {}, (0, 0), ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        word, *rest = line.split()
        if word == "VmFlags:":
            found[place] = (permissions, rest)
        elif not word.endswith(":"):
            first, last = word.split("-")
            place, permissions = (int(first, 16), int(last, 16)), rest[0]
    return found


def test_a_forked_process_has_a_copy():
    memory = working_memory(1 << 20)
    memory[...] = 1
    child = os.fork()
    if child == 0:
        memory[...] = 2
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert memory.max() == 1


def test_words_begin_at_a_cache_line():
    assert address_of(aligned_words(3)) % 64 == 0
    assert not aligned_words(3).any()


def test_the_address_is_that_of_the_first_element_of_any_array():
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    fixed = array.copy()
    fixed.flags.writeable = False
    for each in (array, fixed, array[1:, ::2], array[::-1], np.empty((0, 3), np.float32)):
        assert address_of(each) == each.ctypes.data

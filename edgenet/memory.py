"""Memory that native code shares with Python."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from contextlib import suppress

import numpy as np

_HUGE_PAGE = 2 << 20
_LEAST_HUGE = 512 << 10


def aligned_words(count: int) -> np.ndarray:
    """`count` int64 zeros that begin at a cache line."""
    memory = np.zeros(count + 16, np.int64)
    start = (-memory.ctypes.data % 64) // 8
    return memory[start : start + count]


def _address_as_told(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _address_from_object(array: np.ndarray) -> int:
    """The first field behind the head of numpy's array object (`char *data` in its C API): faster by far."""
    return ctypes.c_int64.from_address(id(array) + object.__basicsize__).value


def _choose() -> Callable[[np.ndarray], int]:
    """How to find addresses under this interpreter and this numpy."""
    owner = np.zeros(4)
    alike = all(_address_from_object(array) == _address_as_told(array) for array in (owner, owner[2:], np.empty(0)))
    return _address_from_object if alike else _address_as_told


address_of = _choose()
"""address_of(array): the address of an array's first element."""


def working_memory(size: int) -> np.ndarray:
    """`size` bytes of undefined content that begin at a cache line, in huge pages where the system offers them.

    A depthwise tile reads as many pages as pixels: in small pages, looking these up takes as long as the arithmetic.
    What fills little of a huge page lies in small ones. A forked process has its own copy.
    """
    huge = (size + _HUGE_PAGE - _LEAST_HUGE) // _HUGE_PAGE * _HUGE_PAGE
    if huge == 0:
        return aligned_words(-(-size // 8)).view(np.uint8)[:size]
    # Private, because systems give shared memory small pages only.
    area = mmap.mmap(-1, max(size, huge) + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory = np.frombuffer(area, np.uint8)
    start = -address_of(memory) % _HUGE_PAGE
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # small pages are as good but for speed
            area.madvise(mmap.MADV_HUGEPAGE, start, huge)
    return memory[start : start + size]

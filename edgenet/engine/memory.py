"""Memory that native code shares with Python."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

_HUGE_PAGE = 2 << 20
_LEAST_HUGE = 256 << 10
_MADV_HUGEPAGE = 14


def aligned_words(count: int) -> np.ndarray:
    """`count` int64 zeros that begin at a cache line."""
    memory = np.zeros(count + 16, np.int64)
    start = (-memory.ctypes.data % 64) // 8
    return memory[start : start + count]


def address_of(array: np.ndarray) -> int:
    """Address of the array's first element."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
    except (TypeError, ValueError, BufferError):  # read-only, empty or strided: numpy tells, if more slowly
        return array.__array_interface__["data"][0]


def working_memory(size: int) -> np.ndarray:
    """`size` bytes of undefined content that begin at a cache line, in huge pages where the system offers them.

    A depthwise tile reads as many pages as pixels: in small pages, looking these up takes as long as the arithmetic.
    """
    if size < _LEAST_HUGE:
        return aligned_words(-(-size // 8)).view(np.uint8)[:size]
    pages = -(-size // _HUGE_PAGE) * _HUGE_PAGE
    memory = np.frombuffer(mmap.mmap(-1, pages + _HUGE_PAGE), np.uint8)
    start = -address_of(memory) % _HUGE_PAGE
    # A refusal leaves small pages, which are as good but for speed.
    ctypes.CDLL(None).madvise(
        ctypes.c_void_p(address_of(memory) + start), ctypes.c_size_t(pages), ctypes.c_int(_MADV_HUGEPAGE)
    )
    return memory[start : start + size]

"""Memory that native code shares with Python."""

from __future__ import annotations

import numpy as np


def aligned_words(count: int) -> np.ndarray:
    """`count` int64 zeros that begin at a cache line."""
    memory = np.zeros(count + 16, np.int64)
    start = (-memory.ctypes.data % 64) // 8
    return memory[start : start + count]


def address_of(array: np.ndarray) -> int:
    """Address of the array's first element."""
    return array.__array_interface__["data"][0]

"""Constant data of plans, in memory of its own: huge pages where there is much of it."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from edgenet.dtypes import aligned
from edgenet.memory import working_memory

_FIRST, _MOST = 128 << 10, 8 << 20
"""Bytes of the first piece of memory, and of the largest that is shared; each is twice as large as the one before."""
BEHIND = 64
"""Bytes behind each array that kernels may read."""


class Constants(dict[Hashable, np.ndarray]):
    """Packed weights and tables by key. What is set is copied: C-contiguous, to the beginning of a cache line.

    A run walks through all weights once: in small pages, looking these up would hold it up.
    """

    def __init__(self) -> None:
        super().__init__()
        self._piece = _FIRST
        self._free = np.empty(0, np.uint8)

    def __setitem__(self, key: Hashable, array: np.ndarray) -> None:
        size = aligned(array.nbytes + BEHIND)
        if size > len(self._free):
            self._free = working_memory(max(size, self._piece))
            self._piece = min(2 * self._piece, _MOST)
        own, self._free = self._free[: array.nbytes].view(array.dtype).reshape(array.shape), self._free[size:]
        own[...] = array
        super().__setitem__(key, own)

    def clear(self) -> None:
        """Forget all, the memory too."""
        super().clear()
        self.__init__()

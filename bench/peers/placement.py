"""Where a virtual machine's host runs its two processors, which it moves while measurements go on.

Two threads of the same program take half of one's time on neighbouring cores, nearly all of it on the two threads of
one core, and something between on cores without a common cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from edgenet.engine.distance import message_ns

_LOOKS, _PAUSE = 60, 0.1
_SAME = 1.6
"""Factor between the times of a message within which the distance is the same."""


class Placement:
    """The usual distance of the first two processors, the median of a few seconds; `usual_ns` is None for only one."""

    def __init__(self, look: Callable[[], float | None] = message_ns, pause: float = _PAUSE):
        self._look = look
        self.usual_ns = look()
        if self.usual_ns is not None:
            found = [self.usual_ns]
            while len(found) < _LOOKS:
                time.sleep(pause)
                found.append(look() or 0.0)
            self.usual_ns = float(np.median(found))

    def is_usual(self) -> bool:
        """Whether the processors are as far apart as usual now."""
        if self.usual_ns is None:
            return True
        now = self._look() or 0.0
        return self.usual_ns / _SAME < now < self.usual_ns * _SAME

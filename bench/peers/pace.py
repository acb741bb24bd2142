"""Whether a virtual machine's processors compute and read as fast as on an idle host.

Where other machines' work lies on the other hardware threads of their cores, every program takes longer, up to twice as
long, for seconds or minutes at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edgenet.engine.pace import sample_ns

_LOOKS, _PAUSE = 60, 0.05
_FULL = 1.1
"""Factor of the least times within which the pace is full: clocks change by less, neighbours cost more."""


class Pace:
    """The least times of samples on some processors at once, seen in a few seconds and since."""

    def __init__(
        self,
        processors: Sequence[int],
        look: Callable[[Sequence[int]], tuple[float, ...]] = sample_ns,
        pause: float = _PAUSE,
    ):
        self._processors, self._look = processors, look
        self.least_ns = look(processors)
        for _ in range(_LOOKS - 1):
            time.sleep(pause)
            self.is_full()

    def is_full(self) -> bool:
        """Whether all processors are at full pace now."""
        now = self._look(self._processors)
        self.least_ns = tuple(map(min, self.least_ns, now))
        return all(taken < least * _FULL for taken, least in zip(now, self.least_ns, strict=True))

"""Turns that count: those before and behind which the host left the processors alone.

Medians of a few rounds would otherwise tell what the host did during whose turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_PAUSE = 0.1
_MOST_TURNS, _MOST_WAITS = 30, 200


class Turns:
    """Turns of any number of threads; `is_idle(threads)` tells whether the host leaves so many processors alone now.

    `patience`: seconds that waiting and turns that do not count may take in all; then every turn counts.
    """

    def __init__(
        self,
        is_idle: Callable[[int], bool],
        patience: float,
        pause: float = _PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._is_idle, self._pause, self._patience, self._clock = is_idle, pause, patience, clock

    def settled(self, turn: Callable[[], list[float]], threads: int) -> tuple[list[float], int, bool]:
        """The times of a turn that counts, how many did not count before it, and whether it counts although disturbed.

        A turn begins when the host is idle, and counts if it is behind it, too. Where it is not for long, many turns do
        not count, or patience is at an end, the last counts all the same.
        """
        left_out = 0
        while True:
            began = self._clock()
            idle = self._wait(threads)
            times = turn()
            if not idle or self._is_idle(threads):
                return times, left_out, not idle
            self._patience -= self._clock() - began
            if left_out + 1 == _MOST_TURNS or self._patience <= 0:
                return times, left_out, True
            left_out += 1

    def _wait(self, threads: int) -> bool:
        """Wait until the host is idle; False where that takes too long."""
        for _ in range(_MOST_WAITS):
            if self._is_idle(threads):
                return True
            if self._patience <= 0:
                break
            time.sleep(self._pause)
            self._patience -= self._pause
        return False

"""Where a virtual machine's host runs its two processors, which it moves while measurements go on.

Two threads of the same program take half of one's time on neighbouring cores, nearly all of it on the two threads of
one core, and something between on cores without a common cache. Medians of a few rounds would tell how often the host
moved them during whose turn; so a turn of several threads counts only if they were as far apart as usual before and
behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from edgenet.engine.distance import message_ns

_LOOKS, _PAUSE = 60, 0.1
_SAME = 1.6
"""Factor between the times of a message within which the distance is the same."""
_MOST_TURNS, _MOST_WAITS = 30, 200
_PATIENCE = 600.0
"""Seconds that waiting and turns that do not count may take in all; then every turn counts."""


class Placement:
    """The usual distance of the first two processors, the median of a few seconds; `usual_ns` is None for only one."""

    def __init__(
        self,
        look: Callable[[], float | None] = message_ns,
        pause: float = _PAUSE,
        patience: float = _PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._look, self._pause, self._patience, self._clock = look, pause, patience, clock
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

    def settled(self, turn: Callable[[], list[float]]) -> tuple[list[float], int, bool]:
        """The times of a turn that counts, how many did not count before it, and whether it counts although moved.

        A turn begins when the processors are where they usually are, and counts if they are there behind it, too.
        Where they stay away for long, many turns do not count, or patience is at an end, the last counts all the same.
        """
        left_out = 0
        while True:
            began = self._clock()
            there = self._wait()
            times = turn()
            if not there or self.is_usual():
                return times, left_out, not there
            self._patience -= self._clock() - began
            if left_out + 1 == _MOST_TURNS or self._patience <= 0:
                return times, left_out, True
            left_out += 1

    def _wait(self) -> bool:
        """Wait until the processors are as far apart as usual; False where that takes too long."""
        for _ in range(_MOST_WAITS):
            if self.is_usual():
                return True
            if self._patience <= 0:
                break
            time.sleep(self._pause)
            self._patience -= self._pause
        return False

"""Energy of a computation by the processor's own counters (RAPL, through Linux's powercap), where readable."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")


class Meter:
    """The packages' energy counters. Virtual machines and most Arm boards have none; reading may need root."""

    def __init__(self, folder: Path = POWERCAP):
        self._places = [place for place in sorted(folder.glob("*-rapl:*")) if place.name.count(":") == 1]
        if any(_read(place / "energy_uj") is None for place in self._places):
            self._places = []

    @property
    def readable(self) -> bool:
        """Whether there are counters to read."""
        return bool(self._places)

    def joules(self, call: Callable[[], Any], seconds: float = 1.0) -> float | None:
        """Energy of one call in J, from calls over `seconds`; None without counters.

        All that the processor does meanwhile is counted.
        """
        if not self._places:
            return None
        before = [_read(place / "energy_uj") or 0 for place in self._places]
        calls, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds or calls == 0:
            call()
            calls += 1
        used = 0
        for place, start in zip(self._places, before, strict=True):
            end = _read(place / "energy_uj") or 0
            used += end - start if end >= start else end - start + (_read(place / "max_energy_range_uj") or 0)
        return used / 1e6 / calls


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None

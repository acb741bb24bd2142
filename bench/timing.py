"""Fair timing: several sides measured in turns in one process, medians with their spread, and the machine's facts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgenet.commands.doctor import cpu_name

Progress = Callable[[str, int, int], None] | None
"""Called with a stage's name, how much of it is done and how much there is."""

SHORTEST = 2e-3
"""Seconds that one measurement lasts at least: faster calls are repeated within it."""


@dataclass(frozen=True)
class Timing:
    """Times of one call in milliseconds: median, minimum, spread (interquartile range / median), measurements."""

    median_ms: float
    minimum_ms: float
    spread: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.median_ms:.3g} ms +-{self.spread / 2:.0%}"


def summarize(times_ms: list[float]) -> Timing:
    """Median, minimum and spread of measurements."""
    low, median, high = np.percentile(times_ms, (25, 50, 75)).tolist()
    return Timing(median, min(times_ms), (high - low) / median if median > 0 else 0.0, len(times_ms))


def interleave(
    sides: Mapping[str, Callable[[], Any]], rounds: int = 15, progress: Callable[[str, int, int], None] | None = None
) -> dict[str, Timing]:
    """Time of a call of each side. In each round every side is measured once, and each round begins with another side.

    Each side is called twice before; a measurement repeats a call that lasts less than SHORTEST.
    """
    repeats = {name: _repeats(call) for name, call in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for done in range(rounds):
        for name in order:
            call, count = sides[name], repeats[name]
            started = time.perf_counter()
            for _ in range(count):
                call()
            times[name].append((time.perf_counter() - started) * 1e3 / count)
        order = order[1:] + order[:1]
        if progress:
            progress("measuring", done + 1, rounds)
    return {name: summarize(found) for name, found in times.items()}


def _repeats(call: Callable[[], Any]) -> int:
    call()
    started = time.perf_counter()
    call()
    return max(1, int(SHORTEST / max(time.perf_counter() - started, 1e-7)))


def facts(threads: int) -> dict[str, Any]:
    """What a figure depends on besides the program: CPU, instruction set, threads, frequency governor, load."""
    from edgenet.kernels.isa import host

    return {
        "cpu": cpu_name(),
        "cpus": os.cpu_count(),
        "instruction_set": host().name,
        "threads": threads,
        "governor": governor(),
        "load": round(os.getloadavg()[0], 2),
    }


def governor() -> str:
    """The frequency governor of the first CPU, "not visible" where the system hides it (as virtual machines do)."""
    try:
        with open("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return "not visible"


def describe(found: Mapping[str, Any]) -> str:
    """`facts` as one line."""
    return (
        f"{found['cpu']}, {found['cpus']} CPUs, {found['instruction_set']}, {found['threads']} threads, "
        f"governor {found['governor']}, load {found['load']}"
    )

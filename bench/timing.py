"""Fair timing: several sides measured in turns in one process, medians with their spread, and the machine's facts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgenet.engine import machine
from edgenet.errors import EngineError

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

    Each side is called twice before; a measurement repeats a call that lasts less than SHORTEST. Raises EngineError
    when the CPU was throttled (see `full_speed`).
    """
    repeats = {name: _repeats(call) for name, call in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    with full_speed():
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


@contextmanager
def full_speed() -> Iterator[None]:
    """EngineError when the system says that the CPU was throttled in this context: what was measured is no result."""
    before = machine.throttling()
    yield
    reasons = machine.throttled_between(before, machine.throttling())
    if reasons:
        raise EngineError(
            f"The CPU was slowed down during the measurement ({', '.join(reasons)}), so this is no result. Cool it, "
            "check its power supply (`edgenet doctor`) and measure again."
        )


def facts(threads: int) -> dict[str, Any]:
    """What a figure depends on besides the program: instruction set, threads, the state of the machine."""
    from edgenet.kernels.isa import host

    return {**machine.facts(), "instruction_set": host().name, "threads": threads}


def describe(found: Mapping[str, Any]) -> str:
    """`facts` as one line."""
    return (
        f"{found['cpu']}, {found['cpus']} CPUs, {found['instruction_set']}, {found['threads']} threads, "
        f"governor {found['governor']}, load {found['load']}"
    )

"""The machine's limits, measured with edgenet's own kernels: peak multiply-add rates, and memory speed by cache level.

Together they are the roofline (Williams, Waterman and Patterson, 2009): a step that does `flops` of work on `bytes`
cannot take less than max(flops / peak, bytes / bandwidth), nor less than a step that does nothing. In int8 each result
is requantized by the same execution units, which adds to the arithmetic.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edgenet.engine.cache import folder, load_kernels
from edgenet.engine.caches import cache_sizes
from edgenet.engine.loader import ENTRY_TYPE, LoadedKernel
from edgenet.engine.team import slots_of, team
from edgenet.kernels.isa import InstructionSet, host
from edgenet.kernels.table import kernels
from edgenet.kernels.table_int8 import TILE_BYTES, TILE_ROWS, group_depth
from edgenet.memory import address_of, aligned_words, working_memory
from edgenet.prepare.lower_int8_tiles import register_shapes

_SECONDS, _ROUNDS, _ALL_SECONDS = 0.003, 7, 0.4
"""Least length of a measurement, least number, and least length of all: many short ones find the moments in which other
work leaves a core alone."""
_DEPTH = 64
_EMPTY_STEPS = 2_000
PRIVATE = ("L1", "L2")
"""Levels of which each thread has its own."""


@dataclass(frozen=True)
class Limits:
    """Per thread count: GFLOP/s in float32, GOP/s in int8 (both count multiply and add), GB/s, ms of an empty step.

    `requantized` counts the int8 results (in 1e9 a second) that are made from sums in registers. `bandwidth` is that of
    reading, `write_bandwidth` of writing; `copy_bandwidth` counts the bytes read and written of a copy. The levels are
    L1, L2, ... and "memory", for what the threads work on together. `matrix_gops` is the rate of what serves matrix
    products alone: matrix registers (see `kernels.matrix_int8`) or pairs of bytes (see `kernels.pairs_int8`); 0 where
    there is neither.
    """

    isa: str
    threads: int
    float32_gflops: float
    int8_gops: float
    requantized: float
    bandwidth: dict[str, float]
    write_bandwidth: dict[str, float]
    copy_bandwidth: dict[str, float]
    step_ms: float
    matrix_gops: float = 0.0

    def attainable_ms(
        self, flops: int, moved: Sequence[tuple[int, int]], int8: bool, results: int = 0, matrix: bool = False
    ) -> float:
        """Least time of some steps in turn: their arithmetic at the peak, or the bytes that each reads and writes.

        `results` are the int8 values that they requantize; `matrix`: products are made at the rate `matrix_gops`.
        """
        transfer = sum(self.transfer_ms(read, written) for read, written in moved)
        return max(self.arithmetic_ms(flops, int8, results, matrix), transfer) + self.step_ms

    def arithmetic_ms(self, flops: int, int8: bool, results: int = 0, matrix: bool = False) -> float:
        """Time of the arithmetic at the peak."""
        peak = self.int8_gops if int8 else self.float32_gflops
        if matrix and self.matrix_gops:
            peak = self.matrix_gops
        return (flops / peak + results / self.requantized) / 1e6

    def transfer_ms(self, read: int, written: int) -> float:
        """Least time of the bytes read and written: each level passes on as many as it holds, the nearest first.

        As many of each as there are of both are copied, the rest goes alone.
        """
        moved, copied, left, ms = read + written, min(read, written), read + written, 0.0
        for level in self.bandwidth:
            passed = min(left, self._holds(level, moved))
            alone = (read - copied) / self.bandwidth[level] + (written - copied) / self.write_bandwidth[level]
            ms += passed / max(moved, 1) * (2 * copied / self.copy_bandwidth[level] + alone) / 1e6
            left -= passed
        return ms

    def level(self, size: int) -> str:
        """The smallest cache level that holds `size` bytes."""
        return next((level for level in cache_sizes() if size <= self._holds(level, size)), "memory")

    def _holds(self, level: str, size: int) -> int:
        """How many of `size` bytes a level holds, for all threads together."""
        return cache_sizes().get(level, size) * (self.threads if level in PRIVATE else 1)


def _rate(calls: list[Callable[[int], None]], work: float) -> float:
    """Most work a second (in 1e9) of many rounds of all calls at the same time, each given a number of passes."""
    passes = 1
    while True:
        started = time.perf_counter()
        calls[0](passes)
        taken = time.perf_counter() - started
        if taken >= _SECONDS:
            break
        passes *= max(2, int(_SECONDS / max(taken, 1e-6)) + 1) if taken < _SECONDS / 2 else 2
    best, rounds, ends = 0.0, 0, time.perf_counter() + _ALL_SECONDS
    while rounds < _ROUNDS or time.perf_counter() < ends:
        rounds += 1
        together = threading.Barrier(len(calls))
        spans: list[tuple[float, float]] = []

        def measure(call: Callable[[int], None], barrier: threading.Barrier, out: list[tuple[float, float]]) -> None:
            barrier.wait()
            begin = time.perf_counter()
            call(passes)
            out.append((begin, time.perf_counter()))

        threads = [threading.Thread(target=measure, args=(call, together, spans)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = max(end for _, end in spans) - min(begin for begin, _ in spans)
        best = max(best, work * passes * len(calls) / taken / 1e9)
    return best


def measure(threads: int = 1, target: InstructionSet | None = None) -> Limits:
    """Measure the limits for `threads` threads; takes a few seconds."""
    target = target or host()
    names = {row.factory: name for name, row in kernels(target).items() if row.module == "machine"}
    loaded = load_kernels(names.values(), target)

    def rate(factory: str, work: float, own_bytes: int = 0, **values: int) -> float:
        """Work a second of one kernel on all threads. With `own_bytes`, x and y are memory of each thread's own."""
        kernel = loaded[names[factory]]
        entry = ENTRY_TYPE(kernel.address)
        calls, keep = [], []
        for _ in range(threads):
            sink = aligned_words(4096)
            own = working_memory(own_bytes)
            own[...] = 1  # untouched zeros would all be one page
            if own_bytes:
                values |= {"x": address_of(own), "y": address_of(own)}
                if "x" in kernel.slots and "y" in kernel.slots:
                    values["y"] += own_bytes // 2
            slots = slots_of(kernel, sink=address_of(sink), **values)
            keep += [sink, own, slots]
            address = address_of(slots)
            calls.append(lambda passes, place=address: entry(place, 0, passes, 0))
        found = _rate(calls, work)
        del keep
        return found

    operands = aligned_words(1 << 13)
    x, weights = address_of(operands), address_of(operands) + (1 << 14)
    rows = {name: kernels(target)[names[name]].constants for name in ("peak_f32", "peak_int8")}
    products = {name: 2 * r * c * target.lanes * _DEPTH for name, (r, c) in rows.items()}
    float32 = rate("peak_f32", products["peak_f32"], x=x, weights=weights, depth=_DEPTH)
    grouped = group_depth(target)
    int8 = rate("peak_int8", products["peak_int8"] * grouped, x=x, weights=weights, depth=_DEPTH)
    made = rows["peak_int8"][0] * rows["peak_int8"][1] * target.lanes
    together = rate("peak_requantize", made, x=x, weights=weights)
    requantized = 1 / max(1 / together - 2 * grouped / int8, 1e-6)
    matrix = 0.0
    if "peak_matrix" in names:
        tiles = 2 * TILE_ROWS * TILE_ROWS * TILE_BYTES * 2 * kernels(target)[names["peak_matrix"]].constants[0]
        shapes = register_shapes(TILE_ROWS)
        matrix = rate("peak_matrix", tiles, x=x, weights=weights, shapes=address_of(shapes))
    if "peak_pairs" in names:
        high, wide = kernels(target)[names["peak_pairs"]].constants
        made = 2 * high * wide * target.lanes * 4 * _DEPTH
        matrix = rate("peak_pairs", made, x=x, weights=weights, depth=_DEPTH)
    speeds: dict[str, dict[str, float]] = {"read_memory": {}, "write_memory": {}, "copy_memory": {}}
    sizes = cache_sizes()
    working_sets = {name: limit // 2 for name, limit in sizes.items()} | {"memory": 4 * max(sizes.values())}
    vectors = 8 * 4 * target.lanes
    for level, size in working_sets.items():
        shared = threads if level not in PRIVATE else 1
        size = min(size, 512 << 20) // shared // (2 * vectors) * 2 * vectors
        for factory, found in speeds.items():
            count = size // vectors * 8 // (2 if factory == "copy_memory" else 1)
            found[level] = rate(factory, size, own_bytes=size, count=count)
    read, write, copy = speeds.values()
    return Limits(
        target.name,
        threads,
        float32,
        int8,
        requantized,
        read,
        write,
        copy,
        _empty_step_ms(target, threads, loaded),
        matrix,
    )


def _empty_step_ms(target: InstructionSet, threads: int, loaded: dict[str, LoadedKernel]) -> float:
    """Time of a step in which each thread does nothing once, and where there are several they meet behind it."""
    kernel = next(each for each in loaded.values() if "read_memory" in each.name)
    slots = slots_of(kernel, x=0, count=0, sink=address_of(aligned_words(64)))
    counter_bytes = 64 * (threads + 1)
    counters, records = aligned_words(_EMPTY_STEPS * counter_bytes // 8), aligned_words(8 * _EMPTY_STEPS)
    table = records.reshape(-1, 8)
    table[:, :4] = kernel.address, threads, 1, address_of(slots)
    table[:, 4] = address_of(counters) + np.arange(_EMPTY_STEPS) * counter_bytes
    crew = team(target)
    record = crew.record(address_of(records), _EMPTY_STEPS)
    best = float("inf")
    for epoch in range(1, 8):
        started = time.perf_counter()
        crew.run(record, threads, epoch, (slots, counters, records))
        best = min(best, time.perf_counter() - started)
    crew.settle(record)
    return best * 1e3 / _EMPTY_STEPS


def _place(isa: str, threads: int) -> Path:
    return folder() / isa / f"limits-{threads}.json"


def save(limits: Limits) -> None:
    """Keep the limits beside the kernel cache, where profiles find them."""
    place = _place(limits.isa, limits.threads)
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(asdict(limits)))
    os.replace(temporary, place)


def saved(isa: str, threads: int) -> Limits | None:
    """The limits that were measured on this machine for an instruction set and number of threads, if any."""
    try:
        return Limits(**json.loads(_place(isa, threads).read_text()))
    except (OSError, ValueError, TypeError):
        return None

"""How fast processors compute and read now, all of them at once.

Where a virtual machine's processor is one of the two hardware threads of a core, and another machine's work lies on the
other, the two share the core's multipliers, its first-level cache, or both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np

from edgenet.engine.cache import load_kernels
from edgenet.engine.caches import cache_sizes
from edgenet.engine.loader import ENTRY_TYPE
from edgenet.engine.processors import on_each
from edgenet.engine.team import slots_of
from edgenet.kernels.isa import host
from edgenet.memory import address_of, aligned_words

_PRODUCTS, _READS = "bench_peak_f32", "bench_read_memory"
_DEPTH, _PASSES, _SAMPLE_BYTES = 64, 1000, 8 << 20
_SAMPLES = 16
"""Samples of each kind that count; as many run before them, in which a processor wakes up."""


def sample_ns(processors: Sequence[int]) -> tuple[float, float]:
    """Nanoseconds that a sample of products in registers takes, and one of reading half of the first-level cache.

    The median of some milliseconds on the slowest of the processors. Raises EngineError where a kernel is not compiled
    and cannot be.
    """
    target = host()
    kernels = load_kernels([_PRODUCTS, _READS], target)
    operands = aligned_words(1 << 13)
    size = cache_sizes()["L1"] // 2 // (32 * target.lanes) * (32 * target.lanes)
    together = threading.Barrier(len(processors))

    def compute(_: int) -> list[float]:
        sink, own, x = aligned_words(4096), aligned_words(size // 8), address_of(operands)
        own[...] = 1  # untouched zeros would all be one page
        values = {"weights": x + (1 << 14), "depth": _DEPTH, "sink": address_of(sink)}
        slots = {_PRODUCTS: slots_of(kernels[_PRODUCTS], x=x, **values)}
        slots[_READS] = slots_of(
            kernels[_READS], x=address_of(own), count=size // (4 * target.lanes), sink=address_of(sink)
        )
        spans: dict[str, list[float]] = {_PRODUCTS: [], _READS: []}
        together.wait()
        for name, passes in ((_PRODUCTS, _PASSES), (_READS, _SAMPLE_BYTES // size)) * (2 * _SAMPLES):
            entry, place = ENTRY_TYPE(kernels[name].address), address_of(slots[name])
            started = time.perf_counter()
            entry(place, 0, passes, 0)
            spans[name].append(time.perf_counter() - started)
        return [float(np.median(taken[_SAMPLES:])) * 1e9 for taken in spans.values()]

    products, reads = zip(*on_each(processors, compute), strict=True)
    return max(products), max(reads)

"""How far apart two processors are: the time that a message between them takes.

Where they share a core or a cache it is some tens of nanoseconds, else a few hundred. A virtual machine's processors
are now here, now there: what several threads do together then takes longer or not, whatever the program is.
"""

from __future__ import annotations

import os
import time

from edgenet.engine.cache import load_kernels
from edgenet.engine.loader import ENTRY_TYPE
from edgenet.engine.processors import on_each
from edgenet.engine.team import slots_of
from edgenet.kernels.isa import host
from edgenet.memory import address_of, aligned_words

_KERNEL = "bench_messages"
_WARM_UP, _TURNS = 100, 6000


def message_ns() -> float | None:
    """Nanoseconds that a message takes between the first two processors of this process; None where it has only one.

    Raises EngineError where the kernel is not compiled and cannot be.
    """
    processors = sorted(os.sched_getaffinity(0))[:2]
    if len(processors) < 2:
        return None
    kernel = load_kernels([_KERNEL], host())[_KERNEL]
    word, entry = aligned_words(8), ENTRY_TYPE(kernel.address)

    def pass_on(side: int) -> float:
        slots = slots_of(kernel, x=address_of(word), side=side)
        entry(address_of(slots), 0, _WARM_UP, 0)
        started = time.perf_counter()
        entry(address_of(slots), _WARM_UP, _TURNS, 0)
        return time.perf_counter() - started

    return max(on_each(processors, pass_on)) * 1e9 / (2 * (_TURNS - _WARM_UP))

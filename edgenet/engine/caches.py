"""The data caches as the system describes them. `root` is where /sys is looked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

from edgenet.engine.machine import core_of, cpu_list, read

_PLACE = "sys/devices/system/cpu/cpu0/cache"
_OWN = 2
"""The highest level that a thread may have of its own."""


@dataclass(frozen=True)
class Cache:
    """Bytes of a cache, and the number of physical cores that share it."""

    size: int
    cores: int = 1


USUAL = {"L1": Cache(32 << 10), "L2": Cache(512 << 10), "L3": Cache(8 << 20)}
"""What is assumed where the system tells nothing."""


@cache
def data_caches(root: str = "/") -> dict[str, Cache]:
    """The first CPU's data caches, L1 first; usual ones where the system does not tell."""
    found = {}
    try:
        indices = sorted(name for name in os.listdir(root + _PLACE) if name.startswith("index"))
    except OSError:
        indices = []
    for index in indices:
        texts = (read(f"{_PLACE}/{index}/{name}", root) for name in ("type", "size", "level", "shared_cpu_list"))
        kind, size, level, cpus = (text or "" for text in texts)
        if kind != "Instruction" and size.rstrip("K").isdigit() and level.isdigit():
            cores = {core_of(cpu, root) for cpu in cpu_list(cpus)}
            found[f"L{level}"] = Cache(int(size.rstrip("K")) << 10, max(1, len(cores)))
    return dict(sorted(found.items())) or USUAL


def cache_sizes() -> dict[str, int]:
    """Bytes of the data caches that there are, L1 first, as one thread sees them."""
    return {name: each.size for name, each in data_caches().items()}


def own_cache(root: str = "/") -> int:
    """Bytes of the second-level cache that a thread has of its own: its share where cores have one together."""
    second = data_caches(root).get(f"L{_OWN}", USUAL[f"L{_OWN}"])
    return second.size // second.cores

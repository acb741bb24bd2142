"""edgenet itself, from its own file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .job import Job, Runner, Variant

NAME = "edgenet"
RUNTIME = ("edgenet.model",)
DISTRIBUTION = "edgenet"
VARIANTS = (
    Variant("float32", "float32", ("edgenet.converter", "torch")),
    Variant("int8", "int8", ("edgenet.converter", "torch"), note="exact: the same bits on every CPU"),
)


def convert(job: Job, variant: str, target: Path) -> Path:
    """Write the file, and run it once on 1 and 2 threads so that its kernels are in the cache."""
    from edgenet import load
    from edgenet.converter import convert as convert_network

    samples = job.calibration() if variant == "int8" else None
    path = target / "model.edgenet"
    convert_network(str(job.exported), precision=variant, calibration=samples).save(str(path))
    for threads in (1, 2):
        load(str(path), threads=threads).run(job.input())
    return path


def load(path: Path, variant: str, threads: int) -> Runner:
    """The model on exactly `threads` threads."""
    import edgenet

    return edgenet.load(str(path), threads=threads).run


def watch(spans: dict[str, float]) -> None:
    """Let the runtime add the seconds that it prepares plans and loads kernels to `spans`."""
    from edgenet import model
    from edgenet.engine import cache, team

    model.prepare = _timed(model.prepare, "prepare", spans)
    cache.load_kernels = team.load_kernels = _timed(cache.load_kernels, "kernels", spans)


def _timed(function: Callable[..., Any], name: str, spans: dict[str, float]) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments, **keywords)
        finally:
            spans[name] = spans.get(name, 0.0) + time.perf_counter() - started

    return call

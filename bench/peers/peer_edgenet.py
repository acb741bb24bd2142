"""edgenet itself, from its own file."""

from __future__ import annotations

from pathlib import Path

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
    convert_network(str(job.exported), precision=variant, calibration=samples).save(path)
    for threads in (1, 2):
        load(path, threads=threads).run(job.input())
    return path


def load(path: Path, variant: str, threads: int) -> Runner:
    """The model on exactly `threads` threads."""
    import edgenet

    return edgenet.load(path, threads=threads).run

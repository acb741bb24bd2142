"""All runs of the study, several at a time, and the rows made of them: accuracy beside work, size and time."""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from queue import Empty
from typing import Any

from edgenet import load
from edgenet.bench import datasets
from edgenet.bench.timing import facts, interleave
from edgenet.commands.inspect import totals
from edgenet.errors import InputError
from edgenet.model import Model

from .runs import PRECISIONS, Progress, Run, perform

SEPARABLE, STANDARD = "tiny_separable", "tiny_standard"


def perform_all(
    runs: Sequence[Run], folder: Path, data: str | None = None, jobs: int = 1, progress: Progress | None = None
) -> list[dict[str, float]]:
    """`perform` of each run, in the order of `runs`; those that are not finished `jobs` processes at a time.

    Raises what the first run to fail raises.
    """
    missing = [run for run in runs if not run.figures(folder).is_file()]
    if missing:
        datasets.load(missing[0].dataset, data)  # a set that is not there is found out before any process starts
    if jobs > 1 and len(missing) > 1:
        _in_processes(missing, folder, data, min(jobs, len(missing)), progress)
    return [perform(run, folder, data, progress) for run in runs]


def _in_processes(runs: Sequence[Run], folder: Path, data: str | None, jobs: int, progress: Progress | None) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(jobs, context) as pool:
        reports: Any = manager.Queue()
        waiting = [pool.submit(perform, run, folder, data, partial(_put, reports)) for run in runs]
        while any(not each.done() for each in waiting):
            done, _ = wait(waiting, timeout=0.2, return_when="FIRST_EXCEPTION")
            _forward(reports, progress)
            if any(each.exception() for each in done):
                pool.shutdown(cancel_futures=True)
        for each in waiting:
            if not each.cancelled():
                each.result()


def _put(reports: Any, stage: str, done: int, total: int) -> None:
    """Report progress from another process."""
    reports.put((stage, done, total))


def _forward(reports: Any, progress: Progress | None) -> None:
    """Hand on what has been reported."""
    while True:
        try:
            report = reports.get_nowait()
        except Empty:
            return
        if progress:
            progress(*report)


def rows(
    runs: Sequence[Run],
    found: Sequence[dict[str, float]],
    folder: Path,
    threads: int | None = None,
    rounds: int = 15,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """A row for each network, width and precision: accuracy over the seeds, work, size, milliseconds a picture.

    `accuracy_spread` is the standard deviation over the seeds (0 for a single one). `ms` is the engine's own choice of
    algorithms and `ms_direct` the time without Winograd's, which only the standard twin has a use for; both are medians
    of rounds in which all networks take turns, one picture at a time.
    """
    groups: dict[tuple[str, int], list[tuple[Run, dict[str, float]]]] = {}
    for run, accuracy in zip(runs, found, strict=True):
        groups.setdefault((run.network, run.width), []).append((run, accuracy))
    made = []
    models: dict[str, Model] = {}
    for (network, width), members in groups.items():
        first = members[0][0]
        for precision in PRECISIONS:
            path = first.file(folder, precision)
            values = [accuracy[precision] for _, accuracy in members]
            key = f"{network} {width} {precision}"
            models[key] = load(path, threads=threads)
            models[f"{key} direct"] = load(path, threads=threads, winograd=False)
            counts = totals(models[key].graph)
            made.append(
                {
                    "dataset": first.dataset,
                    "network": network,
                    "width": width,
                    "precision": precision,
                    "seeds": [run.recipe.seed for run, _ in members],
                    "accuracies": values,
                    "accuracy_mean": statistics.mean(values),
                    "accuracy_spread": statistics.stdev(values) if len(values) > 1 else 0.0,
                    "torch_accuracy_mean": statistics.mean(accuracy["torch"] for _, accuracy in members),
                    "parameters": counts["parameters"],
                    "macs": counts["macs"],
                    "file_bytes": path.stat().st_size,
                    "epochs": first.recipe.epochs,
                    "training_images": first.images,
                    "test_images": round(members[0][1]["tests"]),
                }
            )
    sides = {key: _call(model) for key, model in models.items()}
    timings = interleave(sides, rounds, progress)
    for row in made:
        key = f"{row['network']} {row['width']} {row['precision']}"
        row["ms"] = timings[key].median_ms
        row["ms_direct"] = timings[f"{key} direct"].median_ms
        row["timing"] = asdict(timings[key])
        row["machine"] = facts(models[key].threads)
    for model in models.values():
        model.close()
    return made


def _call(model: Model) -> Callable[[], Any]:
    inputs = model.example_inputs()
    return lambda: model.run(inputs)


def plan(base: Run, widths: Sequence[int], seeds: Sequence[int]) -> list[Run]:
    """The runs of both twins for each width and seed, with the rest as in `base`; digits are not mirrored.

    Raises InputError for repeated widths or seeds.
    """
    for name, values in (("widths", widths), ("seeds", seeds)):
        if len(set(values)) != len(values):
            raise InputError(f"The {name} must all differ.")
    flip = base.recipe.flip and base.dataset != "mnist"
    return [
        replace(base, network=network, width=width, recipe=replace(base.recipe, seed=seed, flip=flip))
        for width in widths
        for seed in seeds
        for network in (SEPARABLE, STANDARD)
    ]

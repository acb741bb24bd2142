"""The comparison: convert everything, then time all peers in turns, one process each, one at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgenet.bench.timing import full_speed

from . import network, process
from .conversion import convert_all
from .entry import Entry, Options
from .environments import Environment
from .job import Job
from .pace import Pace
from .placement import Placement
from .process import PeerFailure
from .turns import Turns

Progress = Callable[[str, int, int], None] | None

AGREES = 0.9999
"""Cosine to PyTorch from which float32 outputs count as the same."""


def compare(found: Sequence[Environment], options: Options, folder: Path, progress: Progress = None) -> list[dict]:
    """Rows for each network, precision, thread count, peer and variant. A peer's failure is a row with its reason.

    The thread counts of a precision take turns as well, so that what threads gain is measured within seconds, too.
    """
    rows: list[dict[str, Any]] = []
    report = progress or (lambda stage, done, total: None)
    turns = Turns(lambda threads: True, options.patience)
    if options.patience > 0:
        report("the processors' pace and places", 0, 1)
        turns = Turns(idle_host(options.threads), options.patience)
    for done, name in enumerate(options.networks):
        report("networks", done, len(options.networks))
        job = network.prepare(name, folder)
        entries = convert_all(found, options, job, lambda done, total, n=name: report(f"{n}: converting", done, total))
        for precision in options.precisions:
            variants = [entry for entry in entries if entry.variant.precision == precision]
            sides = [entry.on(threads) for threads in options.threads for entry in variants]
            rows += time_all(sides, options, job, turns, partial(report, f"{name}: {precision}"))
    report("networks", len(options.networks), len(options.networks))
    return rows


def cores(threads: int) -> list[int]:
    """The processors that every peer is pinned to: the first `threads` of those this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    return sorted(os.sched_getaffinity(0))[:threads]


def idle_host(thread_counts: Sequence[int]) -> Callable[[int], bool]:
    """What tells whether the host leaves so many processors alone now, after looking at them for some seconds.

    All compute at full pace, and several are as far apart as usual: one thread does not care where the others are.
    """
    paces = {threads: Pace(cores(threads)) for threads in thread_counts if cores(threads)}
    placement = Placement() if len(cores(max(thread_counts, default=1))) > 1 else Placement(lambda: None)

    def is_idle(threads: int) -> bool:
        full = threads not in paces or paces[threads].is_full()
        return full and (threads == 1 or placement.is_usual())

    return is_idle


def time_all(
    entries: Sequence[Entry],
    options: Options,
    job: Job,
    turns: Turns,
    report: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """Start a process for each entry, check its output, and time them in rounds that begin with another one each.

    Raises EngineError when the CPU was throttled meanwhile.
    """
    reference = np.load(job.reference_file)
    running: list[Entry] = []
    try:
        for entry in entries:
            if not entry.failure and attempt(entry, lambda e=entry: start(e, job, reference)):
                running.append(entry)
        with full_speed():
            for done in range(options.rounds):
                report(done, options.rounds)
                for entry in list(running):
                    if not attempt(entry, lambda e=entry: run_round(e, options.seconds, turns)):
                        running.remove(entry)
                running = running[1:] + running[:1]
        report(options.rounds, options.rounds)
        for entry in running:
            attempt(entry, lambda e=entry: finish(e))
        return [entry.row(job.folder.name) for entry in entries]
    finally:
        for entry in entries:
            if entry.process is not None:
                entry.process.close()
                entry.process = None


def attempt(entry: Entry, action: Callable[[], None]) -> bool:
    """Whether the action succeeded; its failure is kept as the entry's, without figures."""
    try:
        action()
    except PeerFailure as failure:
        entry.failure, entry.figures = str(failure), {}
        if entry.process is not None:
            entry.process.close()
            entry.process = None
        return False
    return True


def start(entry: Entry, job: Job, reference: np.ndarray) -> None:
    """Start the entry's process and compare its output with PyTorch's."""
    assert entry.environment is not None
    entry.process, cold = process.serve(
        entry.environment.python,
        entry.module,
        entry.variant.name,
        entry.path,
        job.input_file,
        entry.threads,
        cores(entry.threads),
    )
    entry.process.go_on()
    output = np.array(entry.process.ask("output")["output"])
    entry.process.stand_still()
    entry.figures = {"cold_start_ms": sum(cold.values()), **cold, **agreement(output, reference.ravel())}


def agreement(output: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """Cosine, and largest difference relative to the largest reference value. PeerFailure for another size or NaN."""
    if output.shape != reference.shape:
        raise PeerFailure(f"the output has {output.size} numbers, not {reference.size}")
    if not np.isfinite(output).all():
        raise PeerFailure("the output has numbers that are not finite")
    norms = float(np.linalg.norm(output) * np.linalg.norm(reference))
    return {
        "cosine": float(output @ reference) / norms if norms else 0.0,
        "relative_error": float(np.abs(output - reference).max() / np.abs(reference).max()),
    }


def run_round(entry: Entry, seconds: float, turns: Turns) -> None:
    """One turn of an entry, the other processes standing still; more of them while the host is not idle."""
    peer = entry.process
    assert peer is not None

    def turn() -> list[float]:
        peer.go_on()
        times = peer.ask("run", seconds=seconds, timeout=120 + 10 * seconds)["times_ms"]
        peer.stand_still()
        time.sleep(0.005)
        return times

    times, left_out, disturbed = turns.settled(turn, entry.threads)
    entry.rounds.append(times)
    entry.left_out += left_out
    entry.disturbed += disturbed


def finish(entry: Entry) -> None:
    """Memory and the summary of all rounds."""
    assert entry.process is not None
    entry.process.go_on()
    entry.figures |= entry.process.ask("memory")
    entry.figures |= summary(entry.rounds) | {"left_out": entry.left_out, "disturbed": entry.disturbed}


def summary(rounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Median of the rounds' medians; minimum and 90th percentile of all runs; how far the rounds' medians spread."""
    medians = [float(np.median(times)) for times in rounds]
    everything = np.concatenate([np.asarray(times) for times in rounds])
    low, median, high = np.percentile(medians, (25, 50, 75)).tolist()
    return {
        "median_ms": median,
        "minimum_ms": float(everything.min()),
        "p90_ms": float(np.percentile(everything, 90)),
        "spread": (high - low) / median,
        "rounds": len(rounds),
        "runs": int(everything.size),
        "round_medians_ms": medians,
    }

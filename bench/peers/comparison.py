"""The comparison: convert everything, then time all peers in turns, one process each, one at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import network, process, registry
from .environments import Environment, having
from .job import Job, Peer, Variant
from .process import PeerFailure

Progress = Callable[[str, int, int], None] | None

AGREES = 0.9999
"""Cosine to PyTorch from which float32 outputs count as the same."""


@dataclass(frozen=True)
class Options:
    """`seconds`: how long a peer runs in each round (3 runs at least). `limit`: seconds that a conversion may take."""

    networks: Sequence[str] = network.NAMES
    peers: Sequence[str] = registry.NAMES
    threads: Sequence[int] = (1, 2)
    precisions: Sequence[str] = ("float32", "int8")
    rounds: int = 9
    seconds: float = 0.2
    limit: float = 900


@dataclass
class Entry:
    """A peer's variant on one network: where its model lies, or why there is none."""

    peer: Peer
    variant: Variant
    module: str
    environment: Environment | None = None
    path: str = ""
    file_bytes: int = 0
    failure: str = ""
    process: process.Process | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    rounds: list[list[float]] = field(default_factory=list)

    def row(self, name: str, threads: int) -> dict[str, Any]:
        """The entry's row: what it is, and figures or the reason for having none."""
        version = self.environment.versions.get(self.peer.DISTRIBUTION, "") if self.environment else ""
        return {
            "network": name,
            "peer": self.peer.NAME,
            "variant": self.variant.name,
            "precision": self.variant.precision,
            "threads": threads,
            "version": version,
            "note": self.variant.note,
            "failure": self.failure,
            "file_bytes": self.file_bytes,
            **self.figures,
        }


def compare(found: Sequence[Environment], options: Options, folder: Path, progress: Progress = None) -> list[dict]:
    """Rows for each network, thread count, peer and variant. A peer's failure is a row with its reason."""
    rows: list[dict[str, Any]] = []
    report = progress or (lambda stage, done, total: None)
    for done, name in enumerate(options.networks):
        report("networks", done, len(options.networks))
        job = network.prepare(name, folder)
        entries = convert_all(found, options, job, lambda done, total, n=name: report(f"{n}: converting", done, total))
        for threads in options.threads:
            stage = f"{name}: {threads} thread{'s' if threads > 1 else ''}"
            rows += time_all(entries, options, job, threads, lambda done, total, s=stage: report(s, done, total))
    report("networks", len(options.networks), len(options.networks))
    return rows


def convert_all(
    found: Sequence[Environment], options: Options, job: Job, report: Callable[[int, int], None]
) -> list[Entry]:
    """An entry for each wanted peer and variant, converted unless that failed."""
    onnx_failure = ""
    entries = [
        Entry(peer, variant, f"peer_{name}")
        for name in options.peers
        for peer in (registry.get(name),)
        for variant in peer.VARIANTS
        if variant.precision in options.precisions
    ]
    if any(entry.variant.onnx for entry in entries):
        onnx_failure = export_onnx(found, options, job)
    for done, entry in enumerate(entries):
        report(done, len(entries))
        try:
            convert_one(found, options, job, entry, onnx_failure)
        except PeerFailure as failure:
            entry.failure = str(failure)
    report(len(entries), len(entries))
    return entries


def export_onnx(found: Sequence[Environment], options: Options, job: Job) -> str:
    """Write the ONNX file; why that failed, or nothing."""
    from . import convert_onnx

    environment = having(found, convert_onnx.RUNTIME)
    if environment is None:
        return "the ONNX file needs torch and onnx in one environment"
    try:
        process.convert(environment.python, "convert_onnx", "float32", job.folder, options.limit)
    except PeerFailure as failure:
        return f"ONNX export: {failure}"
    return ""


def convert_one(found: Sequence[Environment], options: Options, job: Job, entry: Entry, onnx_failure: str) -> None:
    """Convert for one entry. Raises PeerFailure."""
    peer, variant = entry.peer, entry.variant
    entry.environment = having(found, peer.RUNTIME)
    if entry.environment is None:
        raise PeerFailure(f"not installed: {', '.join(peer.RUNTIME)}")
    if variant.onnx and onnx_failure:
        raise PeerFailure(onnx_failure)
    converter = having(found, variant.converters)
    if converter is None:
        raise PeerFailure(f"no environment has all of {', '.join(variant.converters)}")
    done = process.convert(converter.python, entry.module, variant.name, job.folder, options.limit)
    entry.path, entry.file_bytes = done["path"], done["file_bytes"]


def cores(threads: int) -> list[int]:
    """The processors that every peer is pinned to: the first `threads` of those this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    return sorted(os.sched_getaffinity(0))[:threads]


def time_all(
    entries: Sequence[Entry], options: Options, job: Job, threads: int, report: Callable[[int, int], None]
) -> list[dict[str, Any]]:
    """Start a process for each entry, check its output, and time them in rounds that begin with another one each."""
    failures = [entry.failure for entry in entries]
    reference = np.load(job.reference_file)
    running: list[Entry] = []
    try:
        for entry in entries:
            entry.figures, entry.rounds = {}, []
            if not entry.failure and attempt(entry, lambda e=entry: start(e, job, threads, reference)):
                running.append(entry)
        for done in range(options.rounds):
            report(done, options.rounds)
            for entry in list(running):
                if not attempt(entry, lambda e=entry: run_round(e, options.seconds)):
                    running.remove(entry)
            running = running[1:] + running[:1]
        report(options.rounds, options.rounds)
        for entry in running:
            attempt(entry, lambda e=entry: finish(e))
        return [entry.row(job.folder.name, threads) for entry in entries]
    finally:
        for entry, failure in zip(entries, failures, strict=True):
            entry.failure = failure
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


def start(entry: Entry, job: Job, threads: int, reference: np.ndarray) -> None:
    """Start the entry's process and compare its output with PyTorch's."""
    assert entry.environment is not None
    entry.process, cold = process.serve(
        entry.environment.python,
        entry.module,
        entry.variant.name,
        entry.path,
        job.input_file,
        threads,
        cores(threads),
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


def run_round(entry: Entry, seconds: float) -> None:
    """One turn of an entry, the other processes standing still."""
    assert entry.process is not None
    entry.process.go_on()
    entry.rounds.append(entry.process.ask("run", seconds=seconds, timeout=120 + 10 * seconds)["times_ms"])
    entry.process.stand_still()
    time.sleep(0.005)


def finish(entry: Entry) -> None:
    """Memory and the summary of all rounds."""
    assert entry.process is not None
    entry.process.go_on()
    entry.figures |= entry.process.ask("memory")
    entry.figures |= summary(entry.rounds)


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

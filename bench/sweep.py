"""The sweep of `edgenet bench separable`: layers of all sizes, measured until the time is up, kept row by row."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgenet.errors import InputError
from edgenet.output import write_text

from .layers import Layer
from .roofline import limits_for
from .separable import measure
from .timing import Progress

KERNELS = (3, 5, 7)
CHANNELS = (16, 32, 64, 128, 256, 512, 1024)
SIZES = (7, 14, 28, 56, 112)
STRIDES = (1, 2)
QUICK = ((3, 5), (16, 64, 256), (7, 14, 56), (1,))
"""Kernels, channels, sizes and strides of the quick sweep."""

Job = tuple[Layer, str, int]
"""A layer, its precision and the number of threads."""


def grid(quick: bool = False) -> list[Layer]:
    """The layers of the sweep: every combination of KERNELS, CHANNELS (D1 and D2), SIZES and STRIDES, or of QUICK."""
    kernels, channels, sizes, strides = QUICK if quick else (KERNELS, CHANNELS, SIZES, STRIDES)
    return [
        Layer(size, size, before, after, kernel, stride)
        for size in sizes
        for before in channels
        for after in channels
        for kernel in kernels
        for stride in strides
    ]


def jobs(layers: Sequence[Layer], precisions: Sequence[str], threads: Sequence[int], largest: float) -> list[Job]:
    """What to measure, in an order as random as it is fixed: whatever was measured when time is up is a sample.

    Layers whose standard convolution takes more than `largest` GFLOP are left out.
    """
    found = [
        (layer, precision, count)
        for layer in layers
        for precision in precisions
        for count in threads
        if standard_flops(layer) <= largest * 1e9
    ]
    random.Random(0).shuffle(found)
    return found


def standard_flops(layer: Layer) -> int:
    """FLOPs of the layer's standard convolution: 2 * D1 * F^2 * D2 * H2 * W2."""
    out = [(side - 1) // layer.stride + 1 for side in (layer.height, layer.width)]
    return 2 * layer.channels * layer.kernel**2 * layer.filters * out[0] * out[1]


class Results:
    """The rows measured so far, in a JSON file where one is named; each row is kept once it is measured.

    A file of another machine or instruction set is refused with InputError.
    """

    def __init__(self, path: Path | None, machine: dict[str, Any]):
        self.path, self.machine, self.rows = path, machine, []
        if path is None or not path.exists():
            return
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            self.rows, before = kept["rows"], kept["machine"]
            others = any(before.get(key) != machine[key] for key in ("cpu", "instruction_set"))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{path} does not hold the rows of a sweep. Name another file.") from None
        if others:
            raise InputError(f"{path} holds rows of another CPU or instruction set. Name another file.")

    def figures(self) -> dict[str, Any]:
        """What the file holds."""
        limits = {str(count): asdict(limits_for(count)) for count in sorted({row["threads"] for row in self.rows})}
        return {"machine": self.machine, "limits": limits, "rows": self.rows}

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row."""
        self.rows.append(row)

    def write(self) -> None:
        """Write the file, if one is named: all of it or nothing."""
        if self.path is not None:
            write_text(self.path, json.dumps(self.figures()) + "\n")


def _key(job: Job) -> tuple[str, str, int]:
    layer, precision, threads = job
    return str(asdict(layer)), precision, threads


def run(todo: Sequence[Job], results: Results, seconds: float | None, rounds: int, progress: Progress = None) -> int:
    """Measure the jobs that the results lack, until `seconds` have passed; returns how many are left."""
    missing = list(_missing(todo, results))
    started, done = time.monotonic(), 0
    try:
        for layer, precision, threads in missing:
            if seconds is not None and time.monotonic() - started >= seconds:
                break
            results.add(measure(layer, precision, limits_for(threads), rounds))
            done += 1
            if progress:
                progress("layers", len(todo) - len(missing) + done, len(todo))
    finally:
        results.write()
    return len(missing) - done


def _missing(todo: Sequence[Job], results: Results) -> Iterator[Job]:
    kept = {(str(row["layer"]), row["precision"], row["threads"]) for row in results.rows}
    return (job for job in todo if _key(job) not in kept)

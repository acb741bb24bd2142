"""Runs samples through the float32 graph and collects what the quantizer needs to know about its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch

from edgenet.converter.samples import numbers, parts_of, require_fit
from edgenet.errors import InputError
from edgenet.graph import Graph

from .executor import Executor
from .observers import Histogram
from .sensitivity import observe_gradients

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, what is done and how much there is (0: not known)."""

BLIND = 0.01
"""Least weight of a value, as a share of the mean weight in its tensor."""


def sample_inputs(graph: Graph, sample: Any) -> dict[str, np.ndarray]:
    """Arrays by graph input of one sample: an array or tensor, a sequence of them, or a mapping by input name.

    Each has the batch as axis 0. Raises InputError for a wrong number of inputs, a wrong shape or values not finite.
    """
    parts = parts_of(graph, sample)
    if len(parts) != len(graph.inputs) or any(part is None for part in parts):
        raise InputError(f"A calibration sample must hold the inputs {', '.join(graph.inputs)}.")
    arrays = {name: numbers(part, name) for name, part in zip(graph.inputs, parts, strict=True)}
    for name, array in arrays.items():
        require_fit(graph, name, array)
    return arrays


class Counter(Protocol):
    """What is told every value of a tensor, one sample after the other: a Histogram, for example."""

    def add(self, values: torch.Tensor) -> None: ...


def reported(
    samples: Iterable[dict[str, np.ndarray]], stage: str, progress: Progress | None, total: int
) -> Iterator[dict[str, np.ndarray]]:
    """The samples one after the other, with progress shown after each."""
    for done, sample in enumerate(samples, start=1):
        yield sample
        if progress:
            progress(stage, done, total)


def collect_weighted(
    graph: Graph,
    samples: Iterable[dict[str, np.ndarray]],
    histograms: Mapping[str, Histogram],
    progress: Progress | None = None,
    total: int = 0,
) -> None:
    """As `collect`, each value counted by the square of its gradient: how much the outputs feel an error in it.

    Values that no later layer tells apart, since it saturates, may so fall outside of the range. Every value counts at
    least `BLIND` of what the tensor's do on average: gradients tell of small errors only.
    """

    def observe(name: str, value: torch.Tensor, gradient: torch.Tensor) -> None:
        if name in histograms:
            weights = gradient.square()
            histograms[name].add(value, (weights + BLIND * weights.mean()).nan_to_num_(0, 0, 0))

    observe_gradients(graph, reported(samples, "calibrate", progress, total), observe)


def collect(
    graph: Graph,
    samples: Iterable[dict[str, np.ndarray]],
    histograms: Mapping[str, Counter],
    progress: Progress | None = None,
    total: int = 0,
) -> None:
    """Add what flows through the tensors of `histograms` for every sample (inputs by name)."""
    executor = Executor(graph)

    def observe(name: str, value: torch.Tensor) -> None:
        if name in histograms:
            histograms[name].add(value)

    for sample in reported(samples, "calibrate", progress, total):
        executor.run(sample, observe)

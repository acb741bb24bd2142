"""Portions of a batch: as many samples at a time as leave their activations in the caches."""

from __future__ import annotations

from edgenet.dtypes import BATCH
from edgenet.engine.caches import cache_sizes
from edgenet.graph import Graph

_SHARE = 4
"""The part of the last-level cache that the activations of a portion may take is one in so many."""


def samplewise(graph: Graph) -> bool:
    """Whether every sample of a batch is computed on its own, so that a batch may be run in portions."""
    return all(tensor.shape[:1] == (BATCH,) for name, tensor in graph.tensors.items() if name not in graph.constants)


def portion(batch: int, sample_bytes: int) -> int:
    """Samples of `sample_bytes` of activations each to run at a time; portions of a batch differ by one at most."""
    most = max(1, max(cache_sizes().values()) // _SHARE // max(sample_bytes, 1))
    return -(-batch // -(-batch // most))

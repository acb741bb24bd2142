"""Named graph rewrites, and `optimize`, which runs them until none finds anything to do.

Each pass rewrites a graph in place and returns how much it did. None changes what the graph computes.
"""

from __future__ import annotations

from collections.abc import Callable

from edgenet.errors import ConversionError
from edgenet.graph import Graph
from edgenet.ops import OperationError

from .drop_identity import drop_identity
from .eliminate_dead import eliminate_dead
from .fold_batchnorm import fold_batchnorm
from .fold_constants import fold_constants
from .fold_permute import fold_permute
from .fuse_activation import fuse_activation
from .fuse_gate import fuse_gate
from .fuse_pad import fuse_pad
from .fuse_residual import fuse_residual
from .fuse_scale import fuse_scale
from .fuse_shuffle import fuse_shuffle
from .merge_moves import merge_moves
from .rewrite import check, copy_graph
from .sink_moves import sink_moves

Pass = Callable[[Graph], int]

CLEANUP: tuple[Pass, ...] = (
    fold_constants,
    drop_identity,
    fuse_gate,
    fuse_shuffle,
    sink_moves,
    merge_moves,
    fold_permute,
    eliminate_dead,
)
"""Passes that take away what does not compute. They run until none finds anything, before each round of FUSION."""

FUSION: tuple[Pass, ...] = (fold_batchnorm, fuse_pad, fuse_activation, fuse_residual, fuse_scale)
"""Passes that make fewer, larger nodes."""

ROUNDS = 100

__all__ = [
    "CLEANUP",
    "FUSION",
    "Pass",
    "drop_identity",
    "eliminate_dead",
    "fold_batchnorm",
    "fold_constants",
    "fold_permute",
    "fuse_activation",
    "fuse_gate",
    "fuse_pad",
    "fuse_residual",
    "fuse_scale",
    "fuse_shuffle",
    "merge_moves",
    "optimize",
    "sink_moves",
]


def optimize(graph: Graph) -> Graph:
    """A new graph that computes the same with fewer nodes: folded, fused, without dead parts; validated.

    `graph`, a float32 graph, is left as it was. ConversionError when a rewrite left something invalid.
    """
    graph = copy_graph(graph)
    for _ in range(ROUNDS):
        if sum(each(graph) for each in CLEANUP) == 0 and sum(each(graph) for each in FUSION) == 0:
            break
    else:
        raise ConversionError(f"The passes found no end after {ROUNDS} rounds. Please report this network.")
    try:
        check(graph)
    except OperationError as error:
        raise ConversionError(f"A rewrite left an invalid graph: {error} Please report this network.") from error
    return graph

"""What is compared and how: the options, and a peer's variant on one network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import network, process, registry
from .environments import Environment
from .job import Peer, Variant


@dataclass(frozen=True)
class Options:
    """`seconds`: how long a peer runs in each round (3 runs at least). `limit`: seconds that a conversion may take.

    `patience`: seconds that turns which do not count may take in all (see `turns`); 0: all count.
    `untimed`: whether variants that only differ in their calibration take part.
    """

    networks: Sequence[str] = network.NAMES
    peers: Sequence[str] = registry.NAMES
    threads: Sequence[int] = (1, 2)
    precisions: Sequence[str] = ("float32", "int8")
    rounds: int = 9
    seconds: float = 0.2
    limit: float = 900
    patience: float = 600
    untimed: bool = False


@dataclass
class Entry:
    """A peer's variant on one network and a number of threads: where its model lies, or why there is none.

    `left_out`: turns that do not count, because the host was not idle; `disturbed`: those that do all the same (see
    `turns`).
    """

    peer: Peer
    variant: Variant
    module: str
    environment: Environment | None = None
    path: str = ""
    file_bytes: int = 0
    conversion_seconds: float = 0.0
    failure: str = ""
    threads: int = 1
    process: process.Process | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    rounds: list[list[float]] = field(default_factory=list)
    left_out: int = 0
    disturbed: int = 0

    def on(self, threads: int) -> Entry:
        """The same with so many threads, not yet measured."""
        return replace(self, threads=threads, process=None, figures={}, rounds=[], left_out=0, disturbed=0)

    def row(self, name: str) -> dict[str, Any]:
        """The entry's row: what it is, and figures or the reason for having none."""
        version = self.environment.versions.get(self.peer.DISTRIBUTION, "") if self.environment else ""
        return {
            "network": name,
            "peer": self.peer.NAME,
            "variant": self.variant.name,
            "precision": self.variant.precision,
            "threads": self.threads,
            "version": version,
            "note": self.variant.note,
            "failure": self.failure,
            "file_bytes": self.file_bytes,
            **self.figures,
        }

"""What may become of a hostile file: ModelFormatError, or a valid model that runs."""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgenet import format, reference
from edgenet.errors import ModelFormatError
from edgenet.graph import Graph
from edgenet.model import Model
from edgenet.validate import Limits
from edgenet.validate_text import forbidden

TIGHT = Limits(memory=2**20, work=2**20)
"""Limits under which whatever is accepted runs in a moment, even in the oracle."""
SECONDS = 20
BYTES = 2**30


def run_survivor(graph: Graph) -> None:
    """Run an accepted graph on tiny inputs in the oracle and in the engine.

    Outputs have the declared shapes; where int8 is computed, engine and oracle agree to the bit.
    """
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=graph.tensors[name].concrete(1)).astype(np.float32) for name in graph.inputs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a valid network may overflow float32 or divide by zero
        with bounded():
            expected = reference.run(graph, inputs)
            golden = {name: graph.constants[constant] for name, constant in graph.metadata.golden_inputs.items()}
            replayed = reference.run(graph, golden) if golden else {}
        found = Model(graph, threads=1).run(inputs)
    for name, array in replayed.items():
        assert array.shape == graph.constants[graph.metadata.golden_outputs[name]].shape
    computes_int8 = any(graph.tensors[node.output].dtype == "int8" for node in graph.nodes)
    for name, array in zip(graph.outputs, found if isinstance(found, tuple) else (found,), strict=True):
        assert array.shape == expected[name].shape == graph.tensors[name].concrete(1)
        assert array.dtype == expected[name].dtype == np.float32
        if computes_int8:
            np.testing.assert_array_equal(array, expected[name])


def judge(content: bytes, path: Path) -> str | None:
    """Load a file: the message of its ModelFormatError, or None after its graph has run. Anything else is a failure."""
    path.write_bytes(content)
    try:
        with bounded():
            graph = format.load(path, TIGHT)
    except ModelFormatError as error:
        refusal = str(error)
        assert not forbidden().search(refusal)
        assert len(refusal) < 1000
        return refusal
    run_survivor(graph)
    return None


@contextlib.contextmanager
def bounded(seconds: float = SECONDS) -> Iterator[None]:
    """TimeoutError after `seconds` of processor time; MemoryError where more than BYTES are asked for (on Linux)."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"the file took more than {seconds} seconds")

    previous = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)

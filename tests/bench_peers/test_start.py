"""From a new process to a first result: the parts, the memory, the table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgenet.bench.peers import start
from edgenet.bench.timing import facts
from edgenet.errors import EdgenetError
from tests.cli.conftest import classifier


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray]:
    """A small model, an input, and the output."""
    import edgenet

    folder = tmp_path_factory.mktemp("network")
    path, x = folder / "m.edgenet", folder / "x.npy"
    classifier().save(path)
    np.save(x, np.random.default_rng(0).standard_normal((1, 3, 12, 12)).astype(np.float32))
    return path, x, edgenet.load(path, 1).run(np.load(x)).ravel()


def test_a_table_of_processes(network: tuple[Path, Path, np.ndarray]) -> None:
    path, x, expected = network
    sides = {
        ("numpy", ""): start._measure(sys.executable, "numpy", "", "", x, 1),
        ("edgenet", "float32"): start._measure(sys.executable, "peer_edgenet", "float32", str(path), x, 1),
    }
    measured = start.rounds(sides, 1, lambda stage, done, total: None)
    base, own = (each[0] for each in measured.values())
    assert {"interpreter", "numpy", "input", "first run"} == set(base["parts_ms"])
    assert {"import", "load"} <= set(own["parts_ms"])
    assert own["total_ms"] == pytest.approx(sum(own["parts_ms"].values()), rel=1e-6)
    assert own["peak_rss_bytes"] >= own["rss_bytes"] > 10**7
    assert own["peak_rss_bytes"] < 10**9
    rows = start.rows_of(measured, expected, {("edgenet", "float32"): ("numpy", "")})
    assert rows[1]["beyond_numpy_ms"] == own["total_ms"] - base["total_ms"]
    assert rows[1]["cosine"] == pytest.approx(1)
    figures = {"network": "n", "precision": "float32", "rounds": 1, "rows": rows, "failures": [], "machine": facts(1)}
    assert "edgenet float32: interpreter" in start.text(json.loads(json.dumps(figures)))


def test_a_side_that_fails_ends_the_measurement(network: tuple[Path, Path, np.ndarray]) -> None:
    side = start._measure(sys.executable, "peer_edgenet", "float32", "nowhere", network[1], 1)
    with pytest.raises(EdgenetError, match=r"edgenet float32 failed: .*nowhere"):
        start.rounds({("edgenet", "float32"): side}, 1, lambda stage, done, total: None)


def test_running_imports_nothing_that_it_does_not_need(network: tuple[Path, Path, np.ndarray]) -> None:
    """Once the kernels are compiled. What the environment itself imports when Python starts does not count."""

    code = (
        "import sys, numpy; before = set(sys.modules); import edgenet; "
        "edgenet.load(sys.argv[1], 1).run(numpy.load(sys.argv[2])); print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, network[:2])], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    unwanted = "torch rich PIL numba llvmlite subprocess tempfile concurrent.futures importlib.metadata numpy.random"
    assert not loaded & {*unwanted.split(), "_hashlib", "secrets", "edgenet.engine.profile", "edgenet.engine.limits"}


def test_the_mapped_file_leaves_memory_once_the_weights_are_packed(network: tuple[Path, Path, np.ndarray]) -> None:
    import edgenet

    def resident() -> int:
        lines = Path("/proc/self/smaps").read_text().splitlines()
        at = next(i for i, line in enumerate(lines) if line.endswith(str(network[0])))
        return next(int(line.split()[1]) for line in lines[at:] if line.startswith("Rss:"))

    model = edgenet.load(network[0], 1)
    before = {name: array.copy() for name, array in model.graph.constants.items()}
    assert resident() > 0
    model.plan()
    assert resident() == 0
    assert all(np.array_equal(array, before[name]) for name, array in model.graph.constants.items())

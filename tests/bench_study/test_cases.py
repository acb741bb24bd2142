"""The benchmark suites have a row for each kernel of the kernel table, whatever the instruction set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgenet.bench.cases import build_case, read_cases
from edgenet.bench.layers import KINDS, build, read_layers
from edgenet.kernels.isa import INSTRUCTION_SETS
from edgenet.kernels.table import kernels
from edgenet.ops import node_types, validate_node, with_defaults
from edgenet.prepare.prepare import prepare

BENCH = Path(__file__).parents[2] / "bench"
NOT_OF_PLANS = ("engine", "bench")
"""Operations of kernels that no step of a plan names: the executor, and those that measure the machine."""


@pytest.mark.parametrize("target", INSTRUCTION_SETS.values(), ids=lambda target: target.name)
def test_every_kernel_has_a_benchmark(target) -> None:
    found: set[str] = set()
    layers = read_layers("mobilenet_v1")
    graphs = [build_case(case) for case in read_cases()]
    graphs += [build(layers[0], kind, precision) for kind in KINDS for precision in ("float32", "int8")]
    for graph in graphs:
        shapes = {name: graph.tensors[name].concrete(1) for name in graph.inputs}
        for winograd in (False, True):
            found |= {step.kernel for step in prepare(graph, shapes, target, 1, winograd=winograd).steps}
    wanted = {name for name, row in kernels(target).items() if row.operation not in NOT_OF_PLANS}
    assert wanted - found == set()


def test_cases_are_valid_graphs_with_names_of_their_own() -> None:
    cases = read_cases()
    for case in cases:
        graph = build_case(case)
        for node in graph.nodes:
            validate_node(with_defaults(node), node_types(graph, node), graph.tensors[node.output], graph.constants)
    assert len({str(case) for case in cases}) == len(cases)


def test_suites_run_and_name_their_kernels(tmp_path: Path) -> None:
    chosen = "softmax or 14x14x512-512-3x3-int8-depthwise"
    command = [sys.executable, "-m", "pytest", str(BENCH), "-q", "-p", "no:cacheprovider", "-k", chosen]
    options = ["--benchmark-max-time=0.01", "--benchmark-min-rounds=1", f"--benchmark-json={tmp_path / 'times.json'}"]
    # pytest-benchmark measures nothing where it believes that other workers run beside it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    result = subprocess.run([*command, *options], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stdout[-2000:]
    content = (tmp_path / "times.json").read_text()
    assert '"depthwise"' in content
    assert "f32_softmax" in content

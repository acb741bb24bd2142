"""pytest-benchmark rows for every kernel of the kernel table, grouped by operation."""

from __future__ import annotations

import pytest

from edgenet.bench.cases import Case, build_case, read_cases
from edgenet.bench.stage import Stage


@pytest.mark.parametrize("winograd", [False, True], ids=["direct", "fast"])
@pytest.mark.parametrize("case", read_cases(), ids=str)
def test_kernel(benchmark, case: Case, winograd: bool) -> None:
    """Time of an operation's steps on one thread."""
    graph = build_case(case)
    stage = Stage(graph, [node.name for node in graph.nodes], threads=1, winograd=winograd, passes=1)
    kernels = sorted({step.kernel for step in stage.steps})
    if winograd and not any(name in kernel for kernel in kernels for name in ("winograd", "strassen")):
        pytest.skip("has no plan with Winograd's or Strassen's algorithm")
    benchmark.group = f"{case.operation} {case.precision}"
    benchmark.extra_info["kernels"] = kernels
    benchmark(stage.run)
    assert stage.steps

"""The prediction's model of memory and threads, its command, and the loops it sees in the matrix kernels."""

import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from edgenet.bench.cases import Case, build_case, read_cases
from edgenet.bench.pi import assembly, mca, predict, study
from edgenet.bench.pi.boards import BOARDS, PUBLISHED
from edgenet.errors import InputError
from edgenet.kernels.isa import by_name
from edgenet.prepare.plan import Step
from edgenet.prepare.prepare import prepare
from tests.engine.networks import separable

PI4, PI5 = BOARDS


def has_tool() -> bool:
    try:
        mca.tool()
    except InputError:
        return False
    return True


needs_tool = pytest.mark.skipif(not has_tool(), reason=f"llvm-mca of LLVM {mca.OLDEST} or later is not in PATH")


@pytest.mark.parametrize(("units", "grain", "busy"), [(1, 1, 1), (4, 1, 4), (5, 1, 2.5), (8, 3, 3), (100, 1, 4)])
def test_threads_that_pieces_of_work_keep_busy(units, grain, busy):
    assert predict.shared(Step("k", units, grain, {}), 4) == busy


def test_memory_counts_weights_and_what_the_cache_does_not_hold():
    plan = prepare(separable(24, 1, 12), {"x": (1, 12, 12, 24)}, by_name("cortex-a72"), 1)
    step = next(step for step in plan.steps if step.kernel.startswith("f32_pw"))
    weights = predict.memory_bytes(plan, step, PI4)
    assert weights == 4 * (24 * 48 + 48)
    big = prepare(separable(24, 1, 120), {"x": (1, 120, 120, 24)}, by_name("cortex-a72"), 1)
    step = next(step for step in big.steps if step.kernel.startswith("f32_pw"))
    assert predict.memory_bytes(big, step, PI4) == weights + 4 * 120 * 120 * (24 + 48)


@pytest.mark.parametrize(("kernel", "size", "planes"), [(3, 56, 28), (3, 7, 4), (5, 28, 16)])
def test_planes_of_interleaved_rows_that_a_unit_fills(kernel, size, planes):
    """One for each band of two rows; a band of 5x5 needs three."""
    shapes = {"x": (1, size, size, 64)}
    constants = {"weight": (64, kernel, kernel, 1), "bias": (64,), "multiplier": (64,)}
    attributes = {"padding": [kernel // 2] * 4, "groups": 64}
    plan = prepare(
        build_case(Case("conv2d", "int8", shapes, constants, attributes, "")), shapes, by_name("cortex-a72"), 1
    )
    (step,) = plan.steps
    assert predict.planes_of_a_unit(step, plan) == planes


def test_boards_and_published_latencies_belong_together():
    assert {board for board, _, _ in PUBLISHED} == {board.name for board in BOARDS}
    assert {network for _, network, _ in PUBLISHED} <= set(study.NETWORKS)


def test_without_llvm_mca_the_command_says_what_to_install(tmp_path):
    command = [sys.executable, "-m", "edgenet.bench", "pi"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": str(tmp_path)}, check=False)
    assert done.returncode == 1
    assert "llvm-mca" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_older_llvm_mca_is_not_taken(tmp_path, monkeypatch):
    old = tmp_path / "llvm-mca"
    old.write_text("#!/bin/sh\necho LLVM version 14.0.6\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{shutil.which('sh')}")
    mca.tool.cache_clear()
    with pytest.raises(InputError, match="apt-get install"):
        mca.tool()
    mca.tool.cache_clear()


@pytest.fixture(scope="module", params=BOARDS, ids=lambda board: board.cpu)
def matrix_kernels(request):
    names = ("f32_pw_8x8", "s8_pw_8x8")
    return request.param, predict.listings(request.param.cpu, names)


def loop_of(name, blocks):
    found = assembly.multiplying_round(blocks[name], 64 * (4 if name.startswith("f32") else 1)).loop
    assert found
    return found


def test_inner_loops_multiply_by_lane_and_do_not_spill(matrix_kernels):
    board, blocks = matrix_kernels
    for name in blocks:
        loop = loop_of(name, blocks)
        assert not any("[sp" in line for line in loop)
        assert not any(line.startswith("ld1r") for line in loop)
        if name.startswith("f32") or board is PI5:
            multiplies = [line for line in loop if assembly.products(line)]
            assert len(multiplies) == 64
            assert all(line.endswith("]") for line in multiplies)


@needs_tool
def test_inner_loops_keep_the_multipliers_busy(matrix_kernels):
    """Over 90 % of the multipliers' slots: a float32 vector takes the A72 one cycle, the A76 half a one."""
    board, blocks = matrix_kernels
    for name in blocks:
        loop = loop_of(name, blocks)
        multiplies = sum(assembly.products(line) > 0 for line in loop)
        least = multiplies / (2 if board is PI5 else 1)
        assert least / mca.cycles(board.model, loop) > 0.9, name


@needs_tool
@pytest.mark.parametrize("weight", [(256, 1, 1, 256), (128, 3, 3, 1)])
def test_an_int8_layer_that_does_more_than_requantize_takes_longer(matrix_kernels, weight):
    board, blocks = matrix_kernels
    case = next(
        case
        for case in read_cases()
        if case.precision == "int8" and case.constants.get("weight") == weight and "stride" not in case.attributes
    )
    hardswish = {"activation": {"kind": "hardswish"}, "output_multiplier": 0.002}
    residual = {**case.inputs, "residual": case.inputs["x"]}
    layers = (
        case,
        replace(case, attributes={**case.attributes, **hardswish}),
        replace(case, attributes={**case.attributes, "residual_multiplier": 0.5}, inputs=residual),
    )
    milliseconds = []
    for layer in layers:
        plan = study.plan_for(build_case(layer), board, 1)
        names = sorted({step.kernel for step in plan.steps} - set(blocks))
        blocks |= predict.listings(board.cpu, names) if names else {}
        milliseconds.append(sum(step.pipeline_ms for step in predict.predict(plan, blocks, board)))
    assert milliseconds[0] < min(milliseconds[1:])


@needs_tool
def test_a_small_network(matrix_kernels):
    board, blocks = matrix_kernels
    graph = separable(24, 2, 12)
    one, four = (study.plan_for(graph, board, threads) for threads in (1, 4))
    names = sorted({step.kernel for plan in (one, four) for step in plan.steps} - set(blocks))
    known = blocks | predict.listings(board.cpu, names)
    alone, together = (predict.predict(plan, known, board) for plan in (one, four))
    multiplies = sum(step.flops for step in one.steps) / 2
    peak = (4 if board is PI4 else 8) * board.ghz * 1e6
    assert sum(step.pipeline_ms for step in alone) > multiplies / peak
    assert sum(step.ms for step in together) < sum(step.ms for step in alone)
    assert all(step.ms >= max(step.pipeline_ms, step.memory_ms) > 0 for step in alone)
    row = {"network": "n", "precision": "float32", "board": board.name, "threads": 1, "ms": 1.0, "steps": []}
    assert "Predictions, not measurements" in study.text([row, {**row, "threads": 4}])

"""Predicted time of a plan's steps on a board: the larger of what its pipelines and what its memory need.

Pipelines: the rounds of the kernel's widest tile (see `assembly`) in cycles of llvm-mca, one mispredicted branch for
each round of a loop; tiles at the edges count by their share of a whole one. Memory: the step's weights, and what of
its inputs and outputs is larger than half of the last cache. Not modelled: misses of the inner caches, translation,
interrupts, heat.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, prod

from edgenet.errors import EngineError
from edgenet.kernels.table import kernel
from edgenet.kernels.table_int8 import HARDSWISH, plane_steps
from edgenet.prepare.plan import Operand, Packed, Plan, Step

from . import assembly, mca
from .boards import Board

LANES = 4
_SEPARATOR = "// kernel "


@dataclass(frozen=True)
class Prediction:
    """Predicted milliseconds of a step, in the pipelines and in memory; `ms`: the larger, and the threads' meeting."""

    node: str
    kernel: str
    pipeline_ms: float
    memory_ms: float
    ms: float


def listings(cpu: str, names: Iterable[str]) -> dict[str, dict[str, assembly.Block]]:
    """The blocks of kernels compiled for a CPU, in a process of its own. Raises EngineError."""
    names = list(names)
    command = [sys.executable, "-m", "edgenet.kernels.build", "--assembly", cpu, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(f"The kernels cannot be compiled for {cpu}: {done.stderr.strip().splitlines()[-1:]}")
    parts = done.stdout.split(_SEPARATOR)[1:]
    return {name: assembly.parse(part) for name, part in zip(names, parts, strict=True)}


def _number(step: Step, name: str) -> int:
    value = step.slots[name]
    assert isinstance(value, int), "a size"
    return value


def _up(count: int, multiple: int) -> int:
    return ceil(count / multiple) * multiple


def _bytes(plan: Plan, name: str) -> int:
    tensor = plan.tensors[name]
    return prod(tensor.shape) * (1 if tensor.dtype == "int8" else 4)


def _depths(step: Step) -> tuple[float, int, int]:
    """Of a matrix kernel: outputs (channels filled up to whole vectors), calls of the inner loop for one, and the
    depth of each in values (float32) or groups (int8)."""
    slots = step.slots
    if "taps" in slots:
        pixels, calls = step.units * _number(step, "out_width"), _number(step, "taps")
    else:
        pixels = _number(step, "pixels") if "pixels" in slots else 1
        calls = _number(step, "kernel_height") * _number(step, "kernel_width") if "kernel_height" in slots else 1
    channels = _up(_number(step, "group_channels" if "group_channels" in slots else "channels"), LANES)
    if "conv_groups" in slots:
        channels *= _number(step, "conv_groups")
    return pixels * channels, calls, _number(step, "groups" if "groups" in slots else "depth")


@dataclass(frozen=True)
class Tile:
    """A kernel's whole tile: rows of `vectors` vectors each, and the bytes of an output element."""

    rows: int
    vectors: int
    element: int


def _paired(step: Step, plan: Plan) -> bool:
    """Whether a depthwise step takes two rows at a time: a loop over what both read, between rows of one alone."""
    return bool(step.slots.get("paired") and kernel(step.kernel, plan.target).constants[-1])


def tile_of(step: Step, plan: Plan) -> Tile:
    """The tile of a step's kernel."""
    row = kernel(step.kernel, plan.target)
    values, int8 = row.constants, step.kernel.startswith("s8")
    if row.factory == "depthwise_wide":
        return Tile(values[5], values[7], 1)
    if row.factory == "depthwise_strided_rows":
        return Tile(values[4], values[6], 1)
    if row.factory == "depthwise_general":
        rows = values[0]
    elif row.factory == "depthwise":
        rows = values[4] * values[5] if int8 else values[2] * (2 if _paired(step, plan) else 1)
    else:
        return Tile(values[0], values[2] if int8 else values[1], 4 if not int8 or step.slots["as_float"] else 1)
    return Tile(rows, 1, 4 if not int8 or step.slots["as_float"] else 1)


def _scalings(step: Step) -> int:
    """Multiplications by which an int8 layer's epilogue makes a result of a sum; 0: not looked at."""
    slots = step.slots
    if not step.kernel.startswith("s8"):
        return 0
    hardswish = slots.get("activation") == HARDSWISH or step.kernel.endswith("_hardswish")
    return 1 + (slots.get("residual", 0) != 0) + 2 * hardswish


def _rounds(
    blocks: dict[str, assembly.Block], tile: Tile, scalings: int, board: Board
) -> tuple[tuple[str, ...], float]:
    """The loop of a kernel's widest tile, and the cycles of the way around it beyond the loop's own.

    The ends of the loop overlap with the way in the simulation. `scalings`: see `_scalings`.
    """
    vectors = tile.rows * tile.vectors
    found = assembly.multiplying_round(blocks, vectors * LANES * tile.element, vectors * scalings)
    turn = mca.cycles(board.model, found.loop)
    way = mca.cycles(board.model, found.loop * 2 + found.way, 20) - 2 * turn
    return found.loop, max(0.0, way) + board.mispredicted


def _matrix(plan: Plan, step: Step, blocks: dict[str, assembly.Block], board: Board) -> float:
    tile = tile_of(step, plan)
    loop, around = _rounds(blocks, tile, _scalings(step), board)
    per_turn = sum(assembly.products(line) for line in loop)
    rest = assembly.remainder_loop(blocks, per_turn // LANES)
    outputs, calls, depth = _depths(step)
    turn, other = mca.cycles(board.model, loop), mca.cycles(board.model, rest)
    tiles = outputs / (tile.rows * tile.vectors * LANES)
    return tiles * (calls * (depth // LANES * turn + depth % LANES * other) + around)


def _turns(step: Step, plan: Plan) -> int:
    """Turns of a depthwise kernel's loop for one tile: kernel rows, or taps (in int8, groups of them)."""
    height = _number(step, "kernel_height")
    row = kernel(step.kernel, plan.target)
    if row.factory != "depthwise_general":
        return height
    width = _number(step, "kernel_width")
    if not step.kernel.startswith("s8"):
        return height * width
    _, group, across = row.constants
    return height * ceil(width / group) if across else ceil(height / group) * width


def planes_of_a_unit(step: Step, plan: Plan) -> int:
    """Planes of interleaved rows that a unit of a depthwise step fills one after the other (see `plane_steps`)."""
    row = kernel(step.kernel, plan.target)
    if row.factory != "depthwise_wide":
        return 1
    height, _, stride, _, band, _, group, _, _ = row.constants
    _, _, needed, _ = plane_steps(height, stride, band, group)
    return ceil(_number(step, "stack_rows") / band) - 1 + needed


def _depthwise(plan: Plan, step: Step, blocks: dict[str, assembly.Block], board: Board, stored: int) -> float:
    tile = tile_of(step, plan)
    loop, around = _rounds(blocks, tile, _scalings(step), board)
    turns = _turns(step, plan) if loop else 0
    if _paired(step, plan):
        turns -= _number(step, "stride_y")
    rounds = stored / (tile.rows * tile.vectors * LANES * tile.element)
    cycles = rounds * (turns * mca.cycles(board.model, loop) + around)
    if "in_columns" in step.slots:  # columns of the input are interleaved first
        blocks_of_channels = 1 if "blocks" in step.slots else ceil(_number(step, "channels") / LANES)
        columns = step.units * blocks_of_channels * planes_of_a_unit(step, plan) * _number(step, "in_columns")
        cycles += columns * mca.cycles(board.model, assembly.moving_loop(blocks, "st", own=True))
    return cycles


def _moving(plan: Plan, step: Step, blocks: dict[str, assembly.Block], board: Board, stored: int) -> float:
    read = sum(_bytes(plan, name) for name in {operand.tensor for operand in step.operands() if not operand.write})
    kind, moved = ("ld", read) if read > 4 * stored else ("st", stored)  # reductions read more than they write
    loop = assembly.moving_loop(blocks, kind)
    per_turn = sum(assembly.bytes_accessed(line, kind) for line in loop)
    return moved / per_turn * mca.cycles(board.model, loop)


def cycles(plan: Plan, step: Step, blocks: dict[str, assembly.Block], board: Board) -> float:
    """Cycles that one core needs for all units of a step."""
    row = kernel(step.kernel, plan.target)
    stored = sum(_bytes(plan, operand.tensor) for operand in step.operands() if operand.write)
    if row.factory in ("pointwise", "convolution", "image_convolution", "matrix_vector"):
        return _matrix(plan, step, blocks, board)
    if row.factory.startswith("depthwise"):
        if row.factory in ("depthwise_wide", "depthwise_strided_rows"):
            stored = stored * _number(step, "blocks") * LANES * 4 // plan.tensors[step.output].shape[-1]
        return _depthwise(plan, step, blocks, board, stored)
    return _moving(plan, step, blocks, board, stored)


def shared(step: Step, threads: int) -> float:
    """Threads that a step keeps busy on average: pieces of work over rounds of pieces."""
    pieces = ceil(step.units / step.grain)
    return pieces / ceil(pieces / threads) if pieces else 1.0


def memory_bytes(plan: Plan, step: Step, board: Board) -> int:
    """Bytes that a step moves from or to memory behind the caches."""
    weights = sum(value.array.nbytes for value in step.slots.values() if isinstance(value, Packed))
    names = {value.tensor for value in step.slots.values() if isinstance(value, Operand)}
    return weights + sum(size for name in names if (size := _bytes(plan, name)) > board.cache // 2)


def predict(plan: Plan, blocks: dict[str, dict[str, assembly.Block]], board: Board) -> list[Prediction]:
    """Every step of a plan; `blocks` holds the plan's kernels as compiled for the board (see `listings`)."""
    found = []
    for step in plan.steps:
        busy = cycles(plan, step, blocks[step.kernel], board) / shared(step, plan.threads)
        pipeline = busy / (board.ghz * 1e6)
        memory = memory_bytes(plan, step, board) / (board.memory_gbs * 1e6)
        meeting = board.barrier_us / 1e3 if plan.threads > 1 else 0.0
        found.append(Prediction(step.node, step.kernel, pipeline, memory, max(pipeline, memory) + meeting))
    return found

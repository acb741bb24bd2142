"""`edgenet bench MODEL`: latency of a file. `edgenet bench separable`: the saving of separable convolution.

`edgenet bench machine`: the limits of the CPU, by which `edgenet profile` judges each layer from then on.
"""

from __future__ import annotations

import argparse

from edgenet.commands import bench_separable
from edgenet.commands.console import (
    add_json,
    add_running,
    counted,
    emit,
    open_model,
    positive,
    progress,
    refuse_unused,
    table,
)
from edgenet.model import MEMORY

OF_MODELS = ("batch", "memory")
"""Options that only latency has."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="MODEL|separable|machine", help="an .edgenet file, or the word separable or machine"
    )
    parser.add_argument("--rounds", type=positive, metavar="N", help="measurements (default: 30, 15 or 9)")
    parser.add_argument("--batch", type=positive, metavar="N", help="samples in a run of MODEL (default 1)")
    parser.add_argument("--memory", choices=MEMORY, help="low: MODEL in little memory, and what it costs in time")
    bench_separable.add_arguments(parser)
    add_running(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.target == "separable":
        refuse_unused(arguments, OF_MODELS, "for bench MODEL, not for bench separable")
        bench_separable.run(arguments)
    elif arguments.target == "machine":
        refuse_unused(arguments, (*OF_MODELS, "rounds", *bench_separable.OPTIONS), "not for bench machine")
        _machine(arguments)
    else:
        refuse_unused(arguments, bench_separable.OPTIONS, "for bench separable, not for bench MODEL")
        _latency(arguments)
    return 0


def _latency(arguments: argparse.Namespace) -> None:
    from edgenet.bench import latency

    model = open_model(arguments.target, arguments.threads, arguments.memory or "fast")
    fast = open_model(arguments.target, arguments.threads) if arguments.memory == "low" else None
    with progress() as report:
        figures = latency.measure(model, arguments.batch or 1, arguments.rounds or 30, report, fast)
    emit(arguments, {"model": arguments.target, **figures}, latency.text(figures))


def _machine(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from edgenet.bench.roofline import keep
    from edgenet.engine import limits
    from edgenet.engine.machine import usable_threads
    from edgenet.kernels.isa import by_name

    most = arguments.threads or usable_threads()
    found = [limits.measure(threads) for threads in dict.fromkeys((1, most))]
    for each in found:
        keep(each)
    lines = []
    for each in found:
        where = "matrix registers" if by_name(each.isa).matrix_registers else "products of pairs of bytes"
        matrix = f" ({each.matrix_gops:.0f} in {where})" if each.matrix_gops else ""
        threads = counted(each.threads, "thread")
        lines.append(
            f"{each.isa}, {threads}: float32 {each.float32_gflops:.1f} GFLOP/s, int8 {each.int8_gops:.1f} "
            f"GOP/s{matrix}, {each.requantized:.1f} requantized results a ns, an empty step {each.step_ms * 1e6:.0f} ns"
        )
        kinds = {"read": each.bandwidth, "write": each.write_bandwidth, "copy": each.copy_bandwidth}
        rows = [[kind, *(f"{speed:.0f}" for speed in speeds.values())] for kind, speeds in kinds.items()]
        lines.append(table(["GB/s", *each.bandwidth], rows))
    emit(arguments, {"limits": [asdict(each) for each in found]}, "\n".join(lines))

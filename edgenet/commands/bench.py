"""`edgenet bench MODEL`: latency of a file. `edgenet bench separable`: the saving of separable convolution.

`edgenet bench machine`: the limits of the CPU, by which `edgenet profile` judges each step from then on.
"""

from __future__ import annotations

import argparse

from edgenet.commands.console import add_json, add_running, emit, open_model, positive, progress
from edgenet.errors import ConversionError, InputError
from edgenet.model import MEMORY


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="MODEL|separable|machine", help="an .edgenet file, or the word separable or machine"
    )
    parser.add_argument("--rounds", type=positive, metavar="N", help="measurements (default: 30, 15 or 9)")
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="samples in a run of MODEL (default 1)")
    parser.add_argument(
        "--memory", choices=MEMORY, default="fast", help="low: as little memory as can be, and what it costs in time"
    )
    study = parser.add_argument_group("separable", "without --input: the layer 14x14x512, and MobileNetV1 as a whole")
    study.add_argument("--input", metavar="HxWxC", help="the layer's input: height x width x channels")
    study.add_argument("--filters", type=positive, metavar="N", help="output channels D2 (default: as many as input)")
    study.add_argument("--kernel", type=positive, default=3, metavar="F", help="size F of the kernel (default 3)")
    study.add_argument("--stride", type=positive, default=1, metavar="N", help="stride (default 1)")
    add_running(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.target == "separable":
        _separable(arguments)
    elif arguments.target == "machine":
        _machine(arguments)
    else:
        _latency(arguments)
    return 0


def _latency(arguments: argparse.Namespace) -> None:
    from edgenet.bench import latency

    model = open_model(arguments.target, arguments.threads, arguments.memory)
    fast = open_model(arguments.target, arguments.threads) if arguments.memory == "low" else None
    with progress() as report:
        figures = latency.measure(model, arguments.batch, arguments.rounds or 30, report, fast)
    emit(arguments, {"model": arguments.target, **figures}, latency.text(figures))


def _separable(arguments: argparse.Namespace) -> None:
    from edgenet.bench import separable
    from edgenet.bench.layers import Layer, parse_size

    height, width, channels = parse_size(arguments.input or "14x14x512")
    if arguments.kernel % 2 == 0:
        raise InputError(f"--kernel must be odd, not {arguments.kernel}.")
    layer = Layer(height, width, channels, arguments.filters or channels, arguments.kernel, arguments.stride)
    with progress() as report:
        studies = {"layer": separable.layer_study(layer, arguments.threads, arguments.rounds or 15, report)}
        if arguments.input is None:
            try:
                import torch  # noqa: F401
            except ImportError:
                raise ConversionError(
                    "Comparing the networks needs PyTorch (pip install 'edgenet[convert]'); name a layer with --input."
                ) from None
            studies["network"] = separable.network_study(arguments.threads, arguments.rounds or 9, report)
    emit(arguments, studies, "\n\n".join(separable.text(study) for study in studies.values()))


def _machine(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from edgenet.engine import limits
    from edgenet.engine.machine import usable_threads

    most = arguments.threads or usable_threads()
    found = [limits.measure(threads) for threads in dict.fromkeys((1, most))]
    for each in found:
        limits.save(each)
    lines = []
    for each in found:
        speeds = ", ".join(f"{level} {speed:.0f}" for level, speed in each.bandwidth.items())
        lines.append(
            f"{each.isa}, {each.threads} threads: float32 {each.float32_gflops:.1f} GFLOP/s, int8 {each.int8_gops:.1f} "
            f"GOP/s; reading GB/s: {speeds}"
        )
    emit(arguments, {"limits": [asdict(each) for each in found]}, "\n".join(lines))

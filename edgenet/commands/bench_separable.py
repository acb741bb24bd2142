"""`edgenet bench separable`: the saving of depthwise-separable convolution, for layers and for whole networks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgenet.commands.console import (
    emit,
    positive,
    progress,
    refuse_unused,
    require_torch,
    writable_target,
    write_json,
)
from edgenet.errors import InputError

DEFAULT_INPUT = "14x14x512"
SECONDS, LARGEST = 300.0, 4.0
"""Of a sweep: its length, and GFLOP of its largest layer."""
OF_LAYERS = ("filters", "kernel", "stride", "reduction")
OF_SWEEPS = ("quick", "seconds", "largest")
OPTIONS = (
    "input", "network", "sweep", "twins", *OF_LAYERS, *OF_SWEEPS, "precision", "output", "html", "accuracy",
)  # fmt: skip
"""Every option of the study, those of single layers, and those of sweeps."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the study to those of `edgenet bench`."""
    study = parser.add_argument_group(
        "separable", f"one of --input, --network, --sweep, --twins; without: the layer {DEFAULT_INPUT}, and --twins"
    )
    study.add_argument("--input", metavar="HxWxC", help="a layer's input: height x width x channels")
    study.add_argument("--filters", type=positive, metavar="N", help="output channels D2 (default: as many as input)")
    study.add_argument("--kernel", type=positive, metavar="F", help="size F of the kernel (default 3)")
    study.add_argument("--stride", type=positive, metavar="N", help="stride (default 1)")
    study.add_argument(
        "--reduction", type=positive, metavar="R", help="study a pointwise reduction to R channels before the layer"
    )
    study.add_argument("--network", metavar="NAME", help="the layers of mobilenet_v1, mobilenet_v2 or inception")
    study.add_argument("--sweep", action="store_true", help="layers of all sizes, in random order; see --seconds")
    study.add_argument("--twins", action="store_true", help="MobileNetV1 and its twin with standard convolutions")
    study.add_argument("--quick", action="store_true", help="a small sweep")
    study.add_argument(
        "--seconds", type=float, metavar="S",
        help="end a sweep after S seconds (default 300, 0: never); with -o the next one goes on from there",
    )  # fmt: skip
    study.add_argument(
        "--largest", type=float, metavar="G", help="largest standard layer of a sweep in GFLOP (default 4)"
    )
    study.add_argument("--precision", choices=("float32", "int8"), help="default: both")
    study.add_argument("-o", "--output", metavar="FILE", help="write the figures as JSON; a sweep goes on from them")
    study.add_argument("--html", metavar="FILE", help="write a report with pictures (needs matplotlib)")
    study.add_argument("--accuracy", metavar="FILE", help="JSON of an accuracy study for the report")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and write what was asked for."""
    modes = [name for name in ("input", "network", "sweep", "twins") if getattr(arguments, name)]
    if len(modes) > 1:
        raise InputError("Choose one of --input, --network, --sweep and --twins.")
    if "sweep" not in modes:
        refuse_unused(arguments, OF_SWEEPS, "for --sweep")
    if modes not in ([], ["input"]):
        refuse_unused(arguments, OF_LAYERS, f"for a single layer, not for --{modes[0]}")
    for path in (arguments.output, arguments.html):
        if path is not None:
            writable_target(path)
    if arguments.html:
        from edgenet.bench import report

        report.require_matplotlib()
        accuracy = {"accuracy": report.read_accuracy(arguments.accuracy)} if arguments.accuracy else {}
    elif arguments.accuracy:
        raise InputError("--accuracy goes into the report; name its file with --html.")
    else:
        accuracy = {}
    figures: dict[str, Any] = {}
    with progress() as shown:
        if modes != ["twins"]:
            figures |= _layers(arguments, modes, shown)
        if modes in ([], ["twins"]):
            figures["twins"] = _twins(arguments, shown)
    if arguments.output and "sweep" not in modes:
        write_json(Path(arguments.output), figures)
    if arguments.html:
        from edgenet.bench import report

        report.write(Path(arguments.html), figures | accuracy)
    emit(arguments, figures, _text(figures))
    return 0


def _layers(arguments: argparse.Namespace, modes: list[str], shown: Any) -> dict[str, Any]:
    """Rows of one layer, of a network's layers, or of a sweep, with the machine and its limits."""
    from edgenet.bench import sweep
    from edgenet.bench.layers import read_layers
    from edgenet.bench.separable import PRECISIONS, summary
    from edgenet.bench.timing import facts
    from edgenet.engine.machine import usable_threads

    precisions = (arguments.precision,) if arguments.precision else PRECISIONS
    seconds: float | None = None
    if "sweep" in modes:
        threads = range(1, (arguments.threads or 1) + 1)
        largest = LARGEST if arguments.largest is None else arguments.largest
        seconds = (SECONDS if arguments.seconds is None else arguments.seconds) or None
        todo = sweep.jobs(sweep.grid(arguments.quick), precisions, threads, largest)
    else:
        layers = read_layers(arguments.network) if "network" in modes else (_layer(arguments),)
        threads = (arguments.threads or usable_threads(),)
        todo = [(layer, precision, count) for precision in precisions for layer in layers for count in threads]
    kept = Path(arguments.output) if arguments.output and "sweep" in modes else None
    results = sweep.Results(kept, facts(max(threads)))
    left = sweep.run(todo, results, seconds, arguments.rounds or 9, shown)
    return {**results.figures(), "left": left, "summary": summary(results.rows)}


def _layer(arguments: argparse.Namespace) -> Any:
    from edgenet.bench.layers import Layer, parse_size

    height, width, channels = parse_size(arguments.input or DEFAULT_INPUT)
    kernel, filters = arguments.kernel or 3, arguments.filters or channels
    if kernel % 2 == 0:
        raise InputError(f"--kernel must be odd, not {kernel}.")
    return Layer(height, width, channels, filters, kernel, arguments.stride or 1, arguments.reduction or 0)


def _twins(arguments: argparse.Namespace, shown: Any) -> dict[str, Any]:
    require_torch("Comparing the networks, instead of a layer named with --input,")
    from edgenet.bench import twins

    precisions = (arguments.precision,) if arguments.precision else None
    return twins.study(arguments.threads, arguments.rounds or 9, shown, precisions)


def _text(figures: dict[str, Any]) -> str:
    from edgenet.bench import separable, twins

    parts = []
    if "rows" in figures:
        parts.append(separable.text(figures["rows"], figures["machine"]))
        if len(figures["rows"]) > 1:
            parts.append(separable.verdict(figures["summary"], figures["left"]))
    if "twins" in figures:
        parts.append(twins.text(figures["twins"]))
    return "\n\n".join(parts)

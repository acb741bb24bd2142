"""`edgenet warmup`: compile every kernel into the cache, or into a bundle for other machines."""

from __future__ import annotations

import argparse
import time

from edgenet.commands.console import add_json, emit, progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        action="append",
        metavar="NAME",
        help="instruction set or CPU to compile for (avx2, neon, x86-64-v3, cortex-a72, ...); may be repeated",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write a kernel bundle, for machines without numba (see EDGENET_KERNELS)"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from edgenet.engine import cache
    from edgenet.kernels.isa import by_name, host

    targets = list(dict.fromkeys(by_name(name) for name in arguments.target or ())) or [host()]
    started = time.perf_counter()
    with progress() as report:
        if arguments.output:
            count = cache.make_bundle(arguments.output, targets, report)
        else:
            count = sum(cache.warmup(report, target) for target in targets)
    seconds = time.perf_counter() - started
    place = arguments.output or str(cache.folder())
    names = [target.name for target in targets]
    figures = {"kernels": count, "seconds": seconds, "isa": names[0], "targets": names, "folder": place}
    emit(arguments, figures, f"{count} kernels for {', '.join(names)} are in {place} ({seconds:.1f} s).")
    return 0

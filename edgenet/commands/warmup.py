"""`edgenet warmup`: compile every kernel into the cache, so that no later run waits for the compiler."""

from __future__ import annotations

import argparse
import time

from edgenet.commands.console import add_json, emit, progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from edgenet.engine import cache
    from edgenet.kernels.isa import host

    target = host()
    started = time.perf_counter()
    with progress() as report:
        count = cache.warmup(report, target)
    seconds = time.perf_counter() - started
    figures = {"kernels": count, "seconds": seconds, "isa": target.name, "folder": str(cache.folder())}
    emit(arguments, figures, f"{count} kernels for {target.name} are in {cache.folder()} ({seconds:.1f} s).")
    return 0

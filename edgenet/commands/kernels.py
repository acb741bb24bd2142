"""`edgenet kernels`: the kernel table of an instruction set."""

from __future__ import annotations

import argparse

from edgenet.commands.console import add_json, emit, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", metavar="NAME", help="instruction set or CPU (default: what this CPU uses)")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from edgenet.kernels.isa import by_name, host
    from edgenet.kernels.table import kernels

    target = by_name(arguments.target) if arguments.target else host()
    rows = [
        {
            "name": kernel.name,
            "operation": kernel.operation,
            "dtype": kernel.dtype,
            "vector": kernel.vector,
            "module": kernel.module,
        }
        for kernel in kernels(target).values()
    ]
    lines = table(
        ["kernel", "operation", "dtype", "code", "module"],
        [
            [row["name"], row["operation"], row["dtype"], "vector" if row["vector"] else "scalar", row["module"]]
            for row in rows
        ],
    )
    emit(arguments, {"isa": target.name, "kernels": rows}, f"{target.name}: {len(rows)} kernels\n{lines}")
    return 0

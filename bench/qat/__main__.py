"""`python -m edgenet.bench qat`: accuracy of a separable network in float32, in int8 after training (PTQ), and in int8
after quantization-aware training (QAT), seed by seed; and whether the engine gives the trained module's bits."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgenet.commands.console import positive, progress, require_torch, table, writable_target, write_json
from edgenet.errors import EdgenetError

QUICK = {"width": 8, "images": 6000, "steps": 60}
"""Settings of --quick: minutes become seconds, and the accuracy is that of a network hardly trained."""


def main(words: Sequence[str]) -> int:
    """Run the command line. Returns its exit code: 1 when an engine's output is not its module's."""
    parser = argparse.ArgumentParser(prog="python -m edgenet.bench qat", description=__doc__)
    parser.add_argument("--dataset", default="fashion-mnist", choices=("fashion-mnist", "mnist"))
    parser.add_argument("--data", metavar="DIR", help="the data set's folder (default: where its package puts it)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default 0 1 2")
    parser.add_argument("--width", type=positive, metavar="N", help="channels of the stem (default 16)")
    parser.add_argument("--epochs", type=positive, default=5, metavar="N", help="epochs in float32 (default 5)")
    parser.add_argument("--steps", type=positive, metavar="N", help="batches of fine-tuning (default 400)")
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch, few pictures: to try the command")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep trained networks here, and use them again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    arguments = parser.parse_args(words)
    try:
        rows = _study(arguments)
    except EdgenetError as error:
        print(f"edgenet.bench: {error}", file=sys.stderr)
        return 1
    print(text(rows))
    return 0 if all(row["identical"] for row in rows) else 1


def _study(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    require_torch("Training", "bench")
    import torch

    from edgenet.bench import datasets
    from edgenet.bench.training import Recipe

    from .study import Settings, perform

    if arguments.json:
        writable_target(str(arguments.json))
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the figures must not depend on the machine
    data = datasets.load(arguments.dataset, arguments.data)
    given = {"width": arguments.width, "steps": arguments.steps}
    chosen: dict[str, Any] = (QUICK if arguments.quick else {}) | {
        key: value for key, value in given.items() if value is not None
    }
    recipe = Recipe(epochs=1 if arguments.quick else arguments.epochs)
    rows = []
    with progress() as report:
        for seed in arguments.seeds[:1] if arguments.quick else arguments.seeds:
            settings = Settings(recipe=replace(recipe, seed=seed), **chosen)
            rows.append(perform(data, settings, arguments.folder, report))
            if arguments.json:  # after each seed: what was measured outlives what stops the next
                write_json(arguments.json, rows)
    return rows


def text(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each seed, and the mean."""
    lines = []
    for row in rows:
        right = row["accuracy"]
        lines.append(
            [
                str(row["seed"]),
                f"{right['float32']:.2f}",
                *(f"{right[name]:.2f}" for name in ("ptq", "qat")),
                *(f"{right[name] - right['float32']:+.2f}" for name in ("ptq", "qat")),
                *(str(row["changed"][name]) for name in ("ptq", "qat")),
                "yes" if row["identical"] else "NO",
            ]
        )
    if len(rows) > 1:
        mean = {n: sum(row["accuracy"][n] for row in rows) / len(rows) for n in ("float32", "ptq", "qat")}
        differences = [f"{mean[name] - mean['float32']:+.2f}" for name in ("ptq", "qat")]
        lines.append(["mean", *(f"{mean[name]:.2f}" for name in ("float32", "ptq", "qat")), *differences, "", "", ""])
    head = ["seed", "float32 %", "PTQ %", "QAT %", "PTQ -", "QAT -", "PTQ other", "QAT other", "engine = module"]
    settings = rows[0]["settings"]
    title = (
        f"{settings['network']} of width {settings['width']}, {rows[0]['tests']} test pictures, run by the engine: "
        "share that is right; points against float32; predictions other than float32's"
    )
    return f"{title}\n{table(head, lines)}\n\n{_hard_text(rows)}"


def _hard_text(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each seed of the network with spread channels."""
    names = ("float32", "int8", "per_tensor")
    lines = [[str(row["seed"]), *(f"{row['hard'][name]:.2f}" for name in names)] for row in rows]
    title = "the same with ReLU, its channels' ranges spread 1000:1 after training: share that is right"
    return f"{title}\n{table(['seed', 'float32 %', 'int8 %', 'plain per-tensor int8 %'], lines)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

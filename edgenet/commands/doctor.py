"""`edgenet doctor`: what this machine offers, and a small network run on it and compared with the reference."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edgenet.commands.console import add_json, add_kernels, emit, progress
from edgenet.errors import EdgenetError

PACKAGES = {
    "numpy": "needed",
    "numba": "needed",
    "torch": "needed to convert: pip install 'edgenet[convert]'",
    "pillow": "needed to read pictures: pip install 'edgenet[images]'",
    "rich": "shows progress: pip install 'edgenet[cli]'",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_kernels(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    import edgenet

    problems: list[str] = []
    figures: dict[str, Any] = {
        "edgenet": edgenet.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": packages(),
        **machine(problems),
        "cache": cache_state(problems),
    }
    if not problems:
        self_test(figures, problems)
    figures["problems"] = problems
    emit(arguments, figures, _text(figures))
    if problems:
        raise EdgenetError(" ".join(problems))
    return 0


def packages() -> dict[str, str | None]:
    """Installed versions of what edgenet uses; None where a package is missing."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def machine(problems: list[str]) -> dict[str, Any]:
    """CPU, instruction sets and threads. What is wrong is added to `problems`."""
    from edgenet.engine.team import usable_threads
    from edgenet.kernels.isa import available, host

    try:
        choices = [target.name for target in available()]
        chosen = host().name
    except EdgenetError as error:
        problems.append(str(error))
        choices, chosen = [], ""
    return {
        "cpu": cpu_name(),
        "cpus": os.cpu_count(),
        "threads": usable_threads(),
        "instruction_sets": choices,
        "instruction_set": chosen,
        "EDGENET_ISA": os.environ.get("EDGENET_ISA"),
    }


def cpu_name() -> str:
    """The CPU's model, as the system names it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() in ("model name", "Model", "Hardware"):
                    return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cache_state(problems: list[str]) -> dict[str, Any]:
    """The kernel cache's folder, whether it can be written, and how many files it holds."""
    from edgenet.engine import cache

    folder = cache.folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            writable = True
    except OSError as error:
        writable = False
        problems.append(
            f"The kernel cache {folder} cannot be written ({error.strerror}); set EDGENET_CACHE to a folder."
        )
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    return {"folder": str(folder), "writable": writable, "files": len(files), "bytes": size}


def self_test(figures: dict[str, Any], problems: list[str]) -> None:
    """Run a small separable network in float32 and compare it with the reference."""
    import numpy as np

    from edgenet import load, reference

    graph = small_network()
    try:
        model = load(graph)
        with progress() as report:
            model.warm(progress=report)
        x = next(iter(model.example_inputs().values()))
        found = model.run(x)
    except EdgenetError as error:
        problems.append(str(error))
        return
    expected = reference.run(graph, {graph.inputs[0]: x})[graph.outputs[0]]
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    figures["self_test"] = {"relative_difference": difference, "kernels": [step.kernel for step in model.plan().steps]}
    if not difference <= 1e-4:
        problems.append(f"A small network gives wrong results on this machine (relative difference {difference:.2g}).")


def small_network() -> Any:
    """A depthwise and a pointwise convolution on 12 x 12 x 16, as a Graph."""
    import numpy as np

    from edgenet.graph import BATCH, Graph, Node, Tensor

    rng = np.random.default_rng(0)
    graph = Graph(inputs=["x"], outputs=["y"])
    for name in ("x", "hidden", "y"):
        graph.tensors[name] = Tensor(name, (BATCH, 12, 12, 24 if name == "y" else 16))
    depthwise = graph.add_constant("depthwise.weight", rng.standard_normal((16, 3, 3, 1)).astype(np.float32))
    pointwise = graph.add_constant("pointwise.weight", rng.standard_normal((24, 1, 1, 16)).astype(np.float32))
    padded = {"groups": 16, "padding": [1, 1, 1, 1]}
    graph.nodes += [
        Node("conv2d", "depthwise", {"x": "x", "weight": depthwise}, "hidden", padded),
        Node("conv2d", "pointwise", {"x": "hidden", "weight": pointwise}, "y"),
    ]
    return graph


def _text(figures: dict[str, Any]) -> str:
    lines = [
        f"edgenet {figures['edgenet']}, Python {figures['python']}, {figures['system']}",
        f"CPU: {figures['cpu']}; {figures['cpus']} logical CPUs, edgenet uses {figures['threads']} threads",
        f"Instruction sets: {', '.join(figures['instruction_sets'])}; in use: {figures['instruction_set']}",
    ]
    for name, found in figures["packages"].items():
        lines.append(f"{name}: {found or f'not installed, {PACKAGES[name]}'}")
    state = figures["cache"]
    lines.append(f"Kernel cache: {state['folder']}, {state['files']} files, {state['bytes'] / 1e6:.1f} MB")
    if "self_test" in figures:
        lines.append(f"Self-test: relative difference {figures['self_test']['relative_difference']:.2g}")
    lines.append("Everything works." if not figures["problems"] else "Problems were found.")
    return "\n".join(lines)

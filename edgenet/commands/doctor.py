"""`edgenet doctor`: what this machine offers and what holds it back, and a small network run and compared.

`problems` keep edgenet from working, `advice` is what would make it faster or steadier; each says what to do.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgenet.commands.console import add_json, add_kernels, counted, emit, progress
from edgenet.errors import EdgenetError

PACKAGES = {
    "numpy": "needed",
    "numba": "compiles kernels; not needed with a kernel bundle",
    "torch": "needed to convert: pip install 'edgenet[convert]'",
    "pillow": "needed to read pictures: pip install 'edgenet[images]'",
    "rich": "shows progress: pip install 'edgenet[cli]'",
}
HOT = 80.0
"""Degrees Celsius from which Raspberry Pis slow down."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_kernels(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    import edgenet
    from edgenet.engine import machine

    problems: list[str] = []
    advice: list[str] = []
    figures: dict[str, Any] = {
        "edgenet": edgenet.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": packages(),
        **machine.facts(),
        **instruction_sets(problems),
        "cache": cache_state(problems, advice),
        "bundles": bundle_states(problems),
    }
    if not problems:
        self_test(figures, problems)
    speed(figures, advice)
    figures |= {"problems": problems, "advice": advice}
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


def instruction_sets(problems: list[str]) -> dict[str, Any]:
    """Instruction sets, the one in use, what edgenet knows of the CPU's features, the kernels of each operation."""
    from edgenet.engine import bundle, cache
    from edgenet.engine.machine import usable_threads
    from edgenet.kernels.isa import INSTRUCTION_SETS, available, cpu_flags
    from edgenet.kernels.table import kernels

    known = {flag for target in INSTRUCTION_SETS.values() for flag in target.needs}
    found: dict[str, Any] = {
        "threads": usable_threads(),
        "features": sorted(known & cpu_flags()),
        "instruction_sets": [],
        "instruction_set": "",
        "EDGENET_ISA": os.environ.get("EDGENET_ISA"),
        "kernels": {},
    }
    try:
        found["instruction_sets"] = [target.name for target in available()]
        target = bundle.best_target(cache.has_compiler)
    except EdgenetError as error:
        problems.append(str(error))
        return found
    found["instruction_set"] = target.name
    for name, row in kernels(target).items():
        if row.operation not in ("engine", "bench"):
            found["kernels"].setdefault(f"{row.dtype} {row.operation}", []).append(name)
    return found


def cache_state(problems: list[str], advice: list[str]) -> dict[str, Any]:
    """The kernel cache's folder, whether it can be written, its files, and how many of this CPU's kernels are compiled.

    That it cannot be written is a problem while kernels are missing.
    """
    from edgenet.engine import cache, trust

    state: dict[str, Any] = {"folder": None, "writable": False, "files": 0, "bytes": 0, "kernels": 0, "kernels_of": 0}
    obstacle = ""
    try:
        folder = cache.folder()
        state["folder"] = str(folder)
        folder.mkdir(parents=True, exist_ok=True)
        trust.check_folder(folder)
        with tempfile.NamedTemporaryFile(dir=folder):
            state["writable"] = True
    except OSError as error:
        obstacle = (
            f"The kernel cache {state['folder'] or ''} cannot be written ({error.strerror or error}); "
            "set EDGENET_CACHE to a folder."
        )
    except trust.Untrusted as reason:
        problems.append(f"The kernel cache cannot be trusted: {reason}")
        return state
    if state["folder"] is not None:
        state |= _cached_files(Path(state["folder"]))
    if obstacle:
        complete = state["kernels"] == state["kernels_of"] > 0
        (advice if complete else problems).append(obstacle)
    return state


def _cached_files(folder: Path) -> dict[str, int]:
    """Files, bytes and kernels of this CPU in the cache's folder."""
    from edgenet.engine import cache
    from edgenet.kernels.isa import host
    from edgenet.kernels.table import kernels

    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    found = {"files": len(sizes), "bytes": sum(sizes)}
    try:
        names = list(kernels(host()))
        found |= {"kernels": len(cache.cached(names, host())), "kernels_of": len(names)}
    except EdgenetError:
        pass  # instruction_sets() has reported it
    return found


def bundle_states(problems: list[str]) -> list[dict[str, Any]]:
    """The kernel bundles in use."""
    from edgenet.engine import bundle

    try:
        return [{"path": each.path, "edgenet": each.version, "targets": each.targets} for each in bundle.bundles()]
    except EdgenetError as error:
        if str(error) not in problems:
            problems.append(str(error))
        return []


def speed(figures: dict[str, Any], advice: list[str]) -> None:
    """Advice on what makes this machine slower than it could be."""
    throttling, limit, heat = figures["throttling"], figures["cgroup_cpus"], figures["temperature_celsius"]
    if "under-voltage" in throttling["now"] + throttling["since_start"]:
        advice.append("The voltage was too low since the system was started; use the power supply made for this board.")
    slowed = [reason for reason in throttling["now"] if reason != "under-voltage"]
    if slowed:
        advice.append(f"The CPU runs slower than it can ({', '.join(slowed)}); cool it, or let it rest.")
    elif heat is not None and heat >= HOT:
        advice.append(f"The CPU has {heat:.0f} degrees and will slow down; give it a heat sink or a fan.")
    if {"amx_tile", "amx_int8"} <= set(figures["features"]) and "avx512_amx" not in figures["instruction_sets"]:
        advice.append("Linux does not let this process use the CPU's matrix registers (AMX); int8 runs without them.")
    if figures["governor"] in ("powersave", "conservative"):
        advice.append(
            f"The frequency governor is {figures['governor']}; for full speed: echo performance | sudo tee "
            "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )
    if limit is not None and limit < figures["physical_cores"]:
        advice.append(
            f"The control group allows {limit:g} of {figures['physical_cores']} cores; a container gets more with "
            "--cpus."
        )
    elif figures["allowed_cpus"] < (figures["cpus"] or 1):
        advice.append(f"This process may use {figures['allowed_cpus']} of {figures['cpus']} CPUs (see taskset).")
    if figures["load"] > 1 + (figures["cpus"] or 1):
        advice.append(f"The load is {figures['load']}: other programs take the CPU; timings mean little now.")


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

    from edgenet.dtypes import BATCH
    from edgenet.graph import Graph, Node, Tensor

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
    heat, frequency, limit = figures["temperature_celsius"], figures["frequency_mhz"], figures["cgroup_cpus"]
    throttling = figures["throttling"]
    lines = [
        f"edgenet {figures['edgenet']}, Python {figures['python']}, {figures['system']}",
        f"CPU: {figures['cpu']}; {figures['physical_cores']} cores, {figures['allowed_cpus']} of {figures['cpus']} "
        f"logical CPUs allowed, control group {'without limit' if limit is None else f'{limit:g} CPUs'}; edgenet uses "
        f"{counted(figures['threads'], 'thread')}",
        f"Features: {', '.join(figures['features']) or 'none that edgenet asks for'}",
        f"Instruction sets: {', '.join(figures['instruction_sets'])}; in use: {figures['instruction_set']}",
        f"Governor {figures['governor']}"
        + (f", {frequency['now']:.0f} of {frequency['most']:.0f} MHz" if frequency else "")
        + (f", {heat:.0f} degrees" if heat is not None else "")
        + f"; slowed down now: {', '.join(throttling['now']) or 'no'}"
        + f", since the start: {', '.join(throttling['since_start']) or 'no'}",
    ]
    for name, found in figures["packages"].items():
        lines.append(f"{name}: {found or f'not installed, {PACKAGES[name]}'}")
    state = figures["cache"]
    access = "" if state["writable"] else " (cannot be written)"
    lines.append(
        f"Kernel cache: {state['folder']}{access}, {state['files']} files, {state['bytes'] / 1e6:.1f} MB; "
        f"{state['kernels']} of {state['kernels_of']} kernels are compiled"
    )
    for each in figures["bundles"]:
        lines.append(
            f"Kernel bundle: {each['path']}, made by edgenet {each['edgenet']} for {', '.join(each['targets'])}"
        )
    for operation, names in figures["kernels"].items():
        lines.append(f"{operation}: {', '.join(names)}")
    if "self_test" in figures:
        lines.append(f"Self-test: relative difference {figures['self_test']['relative_difference']:.2g}")
    lines += [f"Advice: {text}" for text in figures["advice"]]
    lines.append("Everything works." if not figures["problems"] else "Problems were found.")
    return "\n".join(lines)

"""Cycles of straight pieces of Arm code by llvm-mca, LLVM's model of a CPU's pipelines (caches are none of it)."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache

from edgenet.errors import InputError

OLDEST = 19
"""The oldest that predictions were checked with: LLVM 16's model of the Neoverse N1 multiplies at half its speed."""


@cache
def tool() -> str:
    """The newest llvm-mca in PATH. Raises InputError when there is none that is new enough."""
    names = [f"llvm-mca-{version}" for version in range(40, OLDEST - 1, -1)] + ["llvm-mca"]
    for name in names:
        path = shutil.which(name)
        if path and _version(path) >= OLDEST:
            return path
    raise InputError(
        f"Predicting needs llvm-mca of LLVM {OLDEST} or later, and PATH has none; on Debian: apt-get install llvm-19."
    )


def _version(path: str) -> int:
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"LLVM version (\d+)", text)
    return int(found[1]) if found else 0


@cache
def cycles(cpu: str, instructions: tuple[str, ...], turns: int = 100) -> float:
    """Cycles of one turn when the instructions run `turns` times. Raises InputError if llvm-mca does not know one."""
    if not instructions:
        return 0.0
    lines = [re.sub(r"\.LBB\w+$", "target", instruction) for instruction in instructions]
    command = [tool(), "-mtriple=aarch64", f"-mcpu={cpu}", "-mattr=+dotprod,+i8mm", f"-iterations={turns}"]
    done = subprocess.run(
        [*command, "-resource-pressure=0", "-instruction-info=0"],
        input="\n".join([*lines, "target:", ""]),
        capture_output=True,
        text=True,
        check=False,
    )
    total = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    if done.returncode or total is None:
        raise InputError(f"llvm-mca does not understand a kernel's code: {done.stderr.strip().splitlines()[:1]}")
    return int(total[1]) / turns

"""The kernel table: every kernel that exists for an instruction set. Dispatch, tests, benchmarks and the cache read it.

A name is `<dtype>_<family>[_<tile>]`: dtype f32, s8 (int8) or any; the tile of a matrix kernel is rows x channels, of a
depthwise kernel columns of output. Nothing here imports numba.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from edgenet.errors import EngineError
from edgenet.kernels.digest import sha256
from edgenet.kernels.isa import INSTRUCTION_SETS, InstructionSet

_FOLDER = os.path.dirname(os.path.abspath(__file__))
_SLOW_TO_COMPILE = (
    "convolution_int8",
    "strassen_int8",
    "depthwise_columns_f32",
    "convolution_f32",
    "gemm_f32",
    "winograd_f32",
    "convolution_pairs_int8",
    "pairs_int8",
    "gemm_int8",
)
_IMPORTS = "from edgenet.kernels"
_IMPORT = re.compile(r"^from edgenet\.kernels\.(\w+) import|^from edgenet\.kernels import (\w+)", re.MULTILINE)


class Kernel(NamedTuple):
    """One kernel: `module` and `factory` in edgenet.kernels, the `constants` its factory takes, what it serves.

    `vector` tells whether it works on vectors; a plan with a scalar kernel is reported to the user.
    """

    name: str
    module: str
    factory: str
    constants: tuple[int, ...] = ()
    operation: str = ""
    dtype: str = "float32"
    vector: bool = True


def _engine() -> list[Kernel]:
    return [
        Kernel("execute", "executor", "execute_entry", operation="engine", dtype="any"),
        Kernel("run_parts", "executor", "parts_entry", operation="engine", dtype="any"),
        Kernel("serve", "executor", "serve_entry", operation="engine", dtype="any"),
        Kernel("find_nan", "nan", "find_nan", operation="engine"),
    ]


def _machine(target: InstructionSet) -> list[Kernel]:
    from edgenet.kernels import table_float, table_int8

    height, vectors = table_float.gemm_tile(target)
    rows, _, columns = table_int8.gemm_tile(target)
    matrix = [Kernel("bench_peak_matrix", "machine", "peak_matrix", (columns,), "bench", "int8")]
    return [
        *(matrix if target.matrix_registers else []),
        *(
            [Kernel("bench_peak_pairs", "machine", "peak_pairs", table_int8.pairs_tile(target)[::2], "bench", "int8")]
            if table_int8.has_byte_pairs(target)
            else []
        ),
        Kernel("bench_peak_f32", "machine", "peak_f32", (height, vectors), "bench"),
        Kernel("bench_peak_int8", "machine", "peak_int8", (rows, columns), "bench", "int8"),
        Kernel("bench_peak_requantize", "machine", "peak_requantize", (rows, columns), "bench", "int8"),
        Kernel("bench_read_memory", "machine", "read_memory", (), "bench", "any"),
        Kernel("bench_write_memory", "machine", "write_memory", (), "bench", "any"),
        Kernel("bench_copy_memory", "machine", "copy_memory", (), "bench", "any"),
        Kernel("bench_messages", "machine", "messages", (), "bench", "any"),
    ]


@cache
def kernels(target: InstructionSet) -> dict[str, Kernel]:
    """Every kernel of an instruction set by name."""
    from edgenet.kernels import table_float, table_int8, table_memory

    rows = [
        *_engine(),
        *table_float.rows(target),
        *table_int8.rows(target),
        *table_memory.rows(target),
        *_machine(target),
    ]
    found = {row.name: row for row in rows}
    if len(found) != len(rows):
        raise EngineError("Two kernels of the table have the same name.")
    return found


def kernel(name: str, target: InstructionSet) -> Kernel:
    """The kernel called `name`. Raises EngineError when the instruction set has none."""
    try:
        return kernels(target)[name]
    except KeyError:
        raise EngineError(f"There is no kernel {name} for {target.name}.") from None


@cache
def compiled_for(name: str, target: InstructionSet) -> InstructionSet:
    """The instruction set whose code serves as this kernel on `target`.

    That is the one which `target` extends if it has the same row, and the kernel is not of int8 or both store and
    multiply int8 alike: the same code is generated for both then.
    """
    row = kernel(name, target)
    base = INSTRUCTION_SETS.get(target.extends)
    if base is None or kernels(base).get(name) != row:
        return target
    alike = (base.dot, base.stored_unsigned) == (target.dot, target.stored_unsigned)
    return compiled_for(name, base) if alike or row.dtype != "int8" else target


def slowest_first(names: Iterable[str], target: InstructionSet) -> list[str]:
    """These kernels in the order in which several processes are done soonest with compiling them."""
    last = len(_SLOW_TO_COMPILE)
    rank = {module: number for number, module in enumerate(_SLOW_TO_COMPILE)}
    return sorted(names, key=lambda name: rank.get(kernel(name, target).module, last))


@cache
def _source(module: str) -> tuple[bytes, tuple[str, ...]]:
    """SHA-256 of a module of this folder, and the modules of this folder that it imports."""
    with open(f"{_FOLDER}/{module}.py", "rb") as file:
        content = file.read()
    ends = [place for word in (b"\ndef ", b"\nclass ", b"\n@") if (place := content.find(word)) >= 0]
    lines = content[: min(ends, default=None)].decode().split("\n")  # imports come first
    imports = "\n".join(line for line in lines if line.startswith(_IMPORTS))
    return sha256(content).digest(), tuple(a or b for a, b in _IMPORT.findall(imports))


@cache
def source_digest(module: str) -> str:
    """SHA-256 over the sources that a kernel of `module` is made from: it, and what it imports, directly or not."""
    found, left = set(), ["build", "compile", module]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += _source(name)[1]
    digest = sha256()
    for name in sorted(found):
        digest.update(name.encode() + b"\0" + _source(name)[0])
    return digest.hexdigest()


def fingerprint(name: str, target: InstructionSet) -> str:
    """What a kernel is made from, as a digest: its sources, its row of the table, everything about the target.

    Raises EngineError for a kernel that the target lacks.
    """
    row = kernel(name, target)
    return sha256(f"{source_digest(row.module)} {row} {target}".encode()).hexdigest()

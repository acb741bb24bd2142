"""Compiles kernels in a process of its own: `python -m edgenet.kernels.build TARGET` reads names, writes blocks.

Each line of stdin names a kernel; its block follows on stdout behind the block's size (8 bytes, little-endian). A
block is the SHA-256 of what follows it (32 bytes), one line of JSON (kernel, target, fingerprint, entry offset, slot
names and kinds, size of the code) and code.
`--assembly TARGET NAME...` writes assembly instead, each kernel's behind a line `// kernel NAME`.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
from collections.abc import Callable

from edgenet.kernels.digest import sha256
from edgenet.kernels.isa import InstructionSet, by_name
from edgenet.kernels.table import compiled_for, fingerprint, kernel

_COLLECTIONS = (200_000, 20, 20)
"""Thresholds of Python's garbage collector: numba makes many objects, of which most stay until their kernel is done."""


def _function(name: str, target: InstructionSet) -> Callable[..., None]:
    """A kernel as Python. Raises EngineError when this process has generated code for another target."""
    from edgenet.kernels.simd_types import select_target

    select_target(target)
    row = kernel(name, target)
    return getattr(importlib.import_module(f"edgenet.kernels.{row.module}"), row.factory)(*row.constants)


def build(name: str, target: InstructionSet) -> bytes:
    """The block of one kernel, made for the instruction set whose code serves on `target` (see `table.compiled_for`).

    This process must not have generated code for another target. Raises EngineError.
    """
    from edgenet.kernels import compile as compiler

    function = _function(name, target)
    owner = compiled_for(name, target)
    code, entry = compiler.compile_kernel(function, owner)
    slots = dict(list(compiler.parameters(function).items())[len(compiler.LEADING) :])
    header = {
        "kernel": name,
        "target": owner.name,
        "fingerprint": fingerprint(name, owner),
        "entry": entry,
        "slots": slots,
        "size": len(code),
    }
    content = json.dumps(header).encode() + b"\n" + code
    return sha256(content).digest() + content


def main() -> None:
    """Build the kernels that are asked for."""
    if sys.argv[1] == "--assembly":
        from edgenet.kernels import compile as compiler

        target = by_name(sys.argv[2])
        for name in sys.argv[3:]:
            print(f"// kernel {name}\n{compiler.assembly(_function(name, target), target)}", flush=True)
        return
    target = by_name(sys.argv[1])
    gc.set_threshold(*_COLLECTIONS)
    for line in sys.stdin:
        block = build(line.strip(), target)
        sys.stdout.buffer.write(len(block).to_bytes(8, "little") + block)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

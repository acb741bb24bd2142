"""Regrouping of tuples of vectors."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.extending import intrinsic

from edgenet.kernels.simd_types import items, pack, row_of


@intrinsic
def as_tile(typingctx: Any, vectors: Any) -> Any:
    """as_tile(vectors): a tile whose rows hold one vector each."""
    row = row_of(vectors.dtype, 1)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        rows = [pack(context, builder, row, [value]) for value in items(builder, args[0], sig.args[0])]
        return pack(context, builder, sig.return_type, rows)

    return row_of(row, len(vectors))(vectors), codegen

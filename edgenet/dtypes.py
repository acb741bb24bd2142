"""Element types of tensors by name, the symbolic batch size, the alignment of buffers: what running needs of a graph's
description."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

BATCH: Final = -1
"""Symbolic size of dimension 0: any number of samples, chosen at run time."""

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "int8": np.dtype(np.int8),
    "int32": np.dtype(np.int32),
}
"""Element types by name. Activations are float32 or int8; float16 and int32 occur only in constants."""

ALIGNMENT: Final = 64
"""Buffers, in a file and in the arena, begin at multiples of it, in bytes."""


def aligned(size: int) -> int:
    """`size` rounded up to the alignment of buffers."""
    return -(-size // ALIGNMENT) * ALIGNMENT

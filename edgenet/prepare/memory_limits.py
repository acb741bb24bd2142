"""What a plan may take in memory: its arena, and the data made for it from constants (packed weights, tables).

Both are checked before the memory is used. Neither follows from the size of a file: a kernel packs weights wider than
they are stored, nodes that share a constant may each need it packed in another way, and each thread has its scratch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgenet.errors import InputError, ModelFormatError
from edgenet.validate import DEFAULT_LIMITS

MOST_ARENA = DEFAULT_LIMITS.memory
"""Bytes of a plan's arena, with padded copies and the scratch of all threads: as many as activations may have."""
PACKED_ALLOWANCE, PACKED_SHARE = 256 << 20, 32
"""Bytes of packed data that every plan may have, and how many more for each byte of the model's constants. Weights
stored in int8 take 16 times as many bytes when a float32 kernel transforms them for Winograd's algorithm."""


def most_packed(constants: Mapping[str, np.ndarray]) -> int:
    """Bytes of packed data that a plan of a model with these constants may have."""
    return PACKED_ALLOWANCE + PACKED_SHARE * sum(array.nbytes for array in constants.values())


def check_packed(size: int, most: int) -> None:
    """ModelFormatError if `size` bytes of packed data are more than `most`."""
    if size > most:
        raise ModelFormatError(f"The packed weights and tables need more than the {most} bytes that the model may use.")


def check_arena(size: int, declared: bool) -> None:
    """An error if an arena of `size` bytes is too large: the model's, or else that of inputs not of `declared` size."""
    if size <= MOST_ARENA:
        return
    needed = f"memory for activations needs {size} bytes, more than the {MOST_ARENA} that a model may use"
    if declared:
        raise ModelFormatError(f"The network's {needed}.")
    raise InputError(f"For inputs of this shape the {needed}.")

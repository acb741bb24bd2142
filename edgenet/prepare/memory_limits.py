"""What a plan may take in memory for the data made for it from constants: packed weights, tables.

It does not follow from the size of a file: a kernel packs weights wider than they are stored, and nodes that share a
constant may each need it packed in another way.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgenet.errors import ModelFormatError

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

"""Equalization's factors as texts in a file's provenance: what `compare` needs to know the values of PyTorch again.

Factors are powers of 2**(1/8) and are kept by their exponents, so that nothing is lost.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping

import numpy as np

from edgenet.errors import ConversionError

KEY = "equalization."
"""Begins the provenance's keys of these texts; a number follows."""
STEPS = 8
"""Factors in an octave."""
LONGEST = 4000
"""Characters of one text."""
LARGEST = 2**22
"""Bytes that the texts of a file may unpack to."""


def snap(factors: np.ndarray) -> np.ndarray:
    """The largest representable factors that are not above those given (which are at least 1)."""
    return 2.0 ** (np.floor(np.log2(factors) * STEPS + 1e-9) / STEPS)


def to_texts(factors: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Provenance entries of factors by tensor name. Tensors with the same factors are written once."""
    written: dict[tuple[int, ...], list[str]] = {}
    for name, values in factors.items():
        written.setdefault(tuple(np.rint(np.log2(values) * STEPS).astype(int).tolist()), []).append(name)
    if not written:
        return {}
    packed = zlib.compress(json.dumps([[names, codes] for codes, names in written.items()]).encode(), 9)
    text = base64.b64encode(packed).decode("ascii")
    return {f"{KEY}{i}": text[start : start + LONGEST] for i, start in enumerate(range(0, len(text), LONGEST))}


def from_texts(provenance: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Inverse of `to_texts`; empty where a file has no such texts. Raises ConversionError for damaged ones."""
    parts = sorted((int(key.removeprefix(KEY)), key) for key in provenance if key.startswith(KEY))
    if not parts:
        return {}
    text = "".join(provenance[key] for _, key in parts)
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(base64.b64decode(text, validate=True), LARGEST)
        if unpacker.unconsumed_tail:
            raise ValueError("too long")
        return {
            str(name): 2.0 ** (np.array(codes, np.float64) / STEPS)
            for names, codes in json.loads(content)
            for name in names
        }
    except (ValueError, TypeError, zlib.error) as error:
        raise ConversionError(f"The file's record of its equalization is damaged ({error}). Convert again.") from error

"""A reader written from FORMAT.md alone, as someone would in another language: it shares no code with edgenet."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import numpy as np

TYPES = {"F32": "<f4", "F16": "<f2", "I8": "<i1", "I32": "<i4"}


def read(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Header, constants by name, scales of every tensor that has any by name."""
    magic, major, minor, header_size, file_size, zero = struct.unpack("<8sHHIQI", content[:28])
    assert (magic, major, minor, zero) == (b"\x89EDGENET", 1, 0, 0)
    assert file_size == len(content)
    assert (32 + header_size) % 64 == 0
    assert struct.unpack("<I", content[28:32])[0] == zlib.crc32(content[:28] + content[32:])
    header, buffers = json.loads(content[32 : 32 + header_size].decode("utf-8")), content[32 + header_size :]
    constants, scales, position = {}, {}, 0

    def take(offset: int, dtype: str, shape: list[int]) -> np.ndarray:
        nonlocal position
        assert offset == position
        count = 1
        for size in shape:
            count *= size
        end = offset + count * np.dtype(dtype).itemsize
        position = (end + 63) // 64 * 64
        assert buffers[end:position] == b"\0" * (position - end)
        return np.frombuffer(buffers, dtype, count, offset).reshape(shape)

    for tensor in header["tensors"]:
        if "offset" in tensor:
            constants[tensor["name"]] = take(tensor["offset"], TYPES[tensor["dtype"]], tensor["shape"])
        if isinstance(tensor.get("scale"), dict):
            scales[tensor["name"]] = take(tensor["scale"]["offset"], "<f4", [tensor["shape"][tensor["axis"]]])
        elif "scale" in tensor:
            scales[tensor["name"]] = np.asarray([tensor["scale"]])
    assert position == len(buffers)
    return header, constants, scales

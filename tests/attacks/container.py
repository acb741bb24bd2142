"""Takes .edgenet files apart and puts them together as FORMAT.md says, with any content and a valid checksum.

Independent of edgenet.format, so that it can write what the library never would.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

PREAMBLE = "<8sHHIQI"
ITEM_SIZES = {"F32": 4, "F16": 2, "I8": 1, "I32": 4}


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and buffers of a file."""
    _, _, _, size, _, _ = struct.unpack_from(PREAMBLE, content)
    return json.loads(content[32 : 32 + size]), content[32 + size :]


def seal(content: bytes) -> bytes:
    """The file with its checksum made right."""
    checksum = zlib.crc32(content[32:], zlib.crc32(content[:28]))
    return content[:28] + struct.pack("<I", checksum) + content[32:]


def join(header: bytes | dict[str, Any], buffers: bytes, **preamble: Any) -> bytes:
    """A file with this header (an object, or its bytes) and these buffers; `preamble` overrides single fields."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-(32 + len(text)) % 64)
    fields = {
        "magic": b"\x89EDGENET",
        "major": 1,
        "minor": 0,
        "header_size": len(text),
        "file_size": 32 + len(text) + len(buffers),
        "reserved": 0,
        **preamble,
    }
    return seal(struct.pack(PREAMBLE, *fields.values()) + b"\0\0\0\0" + text + buffers)


def padded(buffer: bytes) -> bytes:
    return buffer + b"\0" * (-len(buffer) % 64)

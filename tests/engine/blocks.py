"""Compiled kernels in every state in which they must not be run."""

from __future__ import annotations

import json
from hashlib import sha256

from edgenet.engine import cache
from edgenet.kernels.isa import host

NAME = "serve"


def good() -> bytes:
    """A kernel as the builder makes it."""
    return cache.blocks([NAME], host())[NAME].content


def rewritten(block: bytes, **changes: object) -> bytes:
    """The block with other entries in its header, and the digest that belongs to them."""
    line, _, code = block[32:].partition(b"\n")
    content = json.dumps(json.loads(line) | changes).encode() + b"\n" + code
    return sha256(content).digest() + content


def flipped(block: bytes, place: int) -> bytes:
    """The block with one bit changed."""
    changed = bytearray(block)
    changed[place] ^= 1
    return bytes(changed)


DAMAGED = {
    "empty": lambda block: b"",
    "truncated": lambda block: block[:-1],
    "digest alone": lambda block: block[:32],
    "longer": lambda block: block + b"\0",
    "digest": lambda block: flipped(block, 0),
    "header": lambda block: flipped(block, 40),
    "entry": lambda block: block.replace(b'"entry": 0', b'"entry": 4', 1),
    "code": lambda block: flipped(block, len(block) - 1),
    "another kernel": lambda block: rewritten(block, kernel="execute"),
    "another CPU": lambda block: rewritten(block, target="neon"),
    "entry outside": lambda block: rewritten(block, entry=1 << 30),
}
"""Ways to spoil a block of this machine."""


def outdated(block: bytes) -> bytes:
    """The block as if made from other sources."""
    return rewritten(block, fingerprint="0" * 64)

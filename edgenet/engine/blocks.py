"""Blocks: compiled kernels as the cache and bundles hold them (see `edgenet.kernels.build`), checked before use."""

from __future__ import annotations

import json
from typing import NamedTuple

from edgenet.engine.loader import Code
from edgenet.kernels.digest import sha256
from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table import fingerprint

_DIGEST_BYTES = 32


class Block(NamedTuple):
    """A block that was checked: its bytes, and the kernel in them."""

    content: bytes
    kernel: Code


class Stale(ValueError):
    """A block that is whole, but made from other sources than those installed."""


def parse(block: bytes, name: str, target: InstructionSet) -> Block:
    """The contents of a block that holds kernel `name` for `target`, made from the sources that are installed.

    Raises Stale for a block made from others, ValueError with the reason for one that is damaged or another kernel's.
    Only what passes may be executed.
    """
    view = memoryview(block)
    start = block.find(b"\n", _DIGEST_BYTES) + 1
    if not start or sha256(view[_DIGEST_BYTES:]).digest() != block[:_DIGEST_BYTES]:
        raise ValueError("damaged")
    header, code = json.loads(block[_DIGEST_BYTES:start]), view[start:]
    if header.get("kernel") != name or header.get("target") != target.name:
        raise ValueError("the code of another kernel or CPU")
    if header.get("fingerprint") != fingerprint(name, target):
        raise Stale("made by another version of edgenet")
    if header["size"] != len(code) or not 0 <= header["entry"] < len(code):
        raise ValueError("damaged")
    return Block(block, Code(name, header["entry"], header["slots"], code))

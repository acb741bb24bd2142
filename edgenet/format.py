"""The .edgenet file: write and read. FORMAT.md beside this file is its specification."""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from edgenet import __version__
from edgenet.dtypes import ALIGNMENT, DTYPES, aligned
from edgenet.errors import ModelFormatError
from edgenet.graph import Graph, Node
from edgenet.header import decode, encode, little, parse, referenced
from edgenet.mapped import MappedFile, open_file
from edgenet.ops import OPERATIONS
from edgenet.output import replacing
from edgenet.validate import DEFAULT_LIMITS, MAX_RANK, Limits, validate
from edgenet.validate_text import show

MAGIC: Final = b"\x89EDGENET"
MAJOR: Final = 1
MINOR: Final = 0
PREAMBLE: Final = struct.Struct("<8sHHIQII")
"""Magic, major, minor, header bytes, file bytes, 0, CRC-32 of the file without these last four bytes."""
CHECKSUM_AT: Final = PREAMBLE.size - 4
MAX_HEADER: Final = 8 * 2**20

_Path = str | os.PathLike[str]


def save(graph: Graph, path: _Path) -> None:
    """Validate the graph and write it. The file appears complete under its name, or not at all.

    Constants that nothing reads are left out; per-axis scales are rounded to float32, attributes equal to their default
    are not written. Raises ModelFormatError for an invalid graph and InputError where the file cannot be written.
    """
    graph = referenced(graph)
    validate(graph)
    header, buffers = encode(graph)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")
    text += b" " * (-(PREAMBLE.size + len(text)) % ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise ModelFormatError(f"the header needs {len(text)} bytes, more than {MAX_HEADER}; shorten labels or names.")
    pieces = [text, *_padded(buffers)]
    size = PREAMBLE.size + sum(len(piece) for piece in pieces)
    preamble = PREAMBLE.pack(MAGIC, MAJOR, MINOR, len(text), size, 0, 0)[:CHECKSUM_AT]
    checksum = zlib.crc32(preamble)
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    with replacing(path) as file:
        file.writelines([preamble, struct.pack("<I", checksum), *pieces])


def _padded(buffers: Iterable[np.ndarray]) -> Iterable[memoryview]:
    for buffer in buffers:
        yield buffer.reshape(-1).view(np.uint8).data
        yield memoryview(bytes(aligned(buffer.nbytes) - buffer.nbytes))


def load(path: _Path, limits: Limits = DEFAULT_LIMITS) -> Graph:
    """Read and validate a file. Constants are read-only views of the mapped file; every attribute is present.

    Raises ModelFormatError for a file that is not valid in every respect, InputError where it cannot be read. The file
    may be replaced while it is mapped (as `save` does), but must not be overwritten in place.
    """
    return decode_file(open_file(path), limits)


def decode_file(file: MappedFile, limits: Limits = DEFAULT_LIMITS) -> Graph:
    """The graph in a file that is mapped already (see `load`). Raises ModelFormatError."""
    try:
        graph = _decode(file.content, limits)
        graph.nodes = [_complete(node) for node in graph.nodes]
        validate(graph, limits)
    except ModelFormatError as error:
        raise ModelFormatError(f"{file.path}: {error}") from None
    return graph


def _decode(mapped: mmap.mmap, limits: Limits) -> Graph:
    content = memoryview(mapped)
    if len(content) < PREAMBLE.size:
        raise ModelFormatError("the file is too short to be a model.")
    magic, major, minor, header_size, file_size, reserved, checksum = PREAMBLE.unpack_from(content)
    if magic != MAGIC:
        raise ModelFormatError("this is not an .edgenet file.")
    if major > MAJOR:
        raise ModelFormatError(
            f"the file has format {major}.{minor}, newer than edgenet {__version__} reads; install a later edgenet."
        )
    newer = minor > MINOR
    if major < 1 or (reserved and not newer):
        raise ModelFormatError("the file's preamble is damaged.")
    if file_size != len(content):
        state = "truncated" if file_size > len(content) else "followed by other data"
        raise ModelFormatError(f"the file is {state}: it has {len(content)} bytes and should have {file_size}.")
    if file_size > MAX_HEADER + limits.memory:
        raise ModelFormatError(f"the file needs more than the {limits.memory} bytes that a model may use.")
    start = PREAMBLE.size + header_size
    if header_size > MAX_HEADER or start > len(content) or start % ALIGNMENT:
        raise ModelFormatError(f"the header cannot have {header_size} bytes.")
    if zlib.crc32(content[PREAMBLE.size :], zlib.crc32(content[:CHECKSUM_AT])) != checksum:
        raise ModelFormatError("the checksum does not match; the file is damaged.")
    buffers = _Buffers(content[start:])
    graph = decode(parse(bytes(content[PREAMBLE.size : start])), buffers.read, newer)
    buffers.finish()
    return graph


def release(graph: Graph) -> None:
    """Let the system take back the memory of mapped constants; what is used again is read from the file again."""
    maps = {}
    for array in graph.constants.values():
        owner: Any = array
        while isinstance(owner, np.ndarray):
            owner = owner.base
        mapped = owner.obj if isinstance(owner, memoryview) else None
        if isinstance(mapped, mmap.mmap):
            maps[id(mapped)] = mapped
    for mapped in maps.values():
        if hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


class _Buffers:
    """The file's buffers, read in the order in which they lie: each begins where the padded one before it ends."""

    def __init__(self, content: memoryview):
        self.content = content
        self.position = 0

    def read(self, dtype: str, shape: tuple[int, ...], offset: int) -> np.ndarray:
        """Read-only array at `offset`, which must be the next one."""
        if len(shape) > MAX_RANK or any(size < 1 for size in shape):
            raise ModelFormatError(f"a constant has the invalid shape {show(shape)}.")
        if offset != self.position:
            raise ModelFormatError(
                f"a buffer begins at {show(offset)} and not at {self.position}, where the last one ends."
            )
        count = 1
        for size in shape:
            count *= size
            if count > len(self.content):
                raise ModelFormatError("a constant is larger than the file.")
        end = offset + count * DTYPES[dtype].itemsize
        self.position = aligned(end)
        if self.position > len(self.content):
            raise ModelFormatError("a constant extends beyond the end of the file.")
        if any(self.content[end : self.position]):
            raise ModelFormatError("the padding between buffers is not zero.")
        array = np.frombuffer(self.content, little(dtype), count, offset).reshape(shape)
        return array.astype(DTYPES[dtype], copy=False)

    def finish(self) -> None:
        """ModelFormatError where bytes follow the last buffer."""
        if self.position != len(self.content):
            raise ModelFormatError("the file holds bytes that belong to no constant.")


def _complete(node: Node) -> Node:
    """The node with every attribute present that has a default; nothing is checked."""
    attributes = dict(node.attributes)
    for name, declared in OPERATIONS[node.operation].attributes.items():
        if name not in attributes and not declared.required:
            attributes[name] = list(declared.default) if isinstance(declared.default, list) else declared.default
    return Node(node.operation, node.name, node.inputs, node.output, attributes, node.source)

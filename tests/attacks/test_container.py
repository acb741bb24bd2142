"""Damage to the file around the header: every single byte, every length, every field of the preamble."""

from __future__ import annotations

import os

import pytest

from edgenet import format
from edgenet.errors import ModelFormatError
from tests.attacks.container import join, padded, seal, split
from tests.attacks.survivors import judge
from tests.format.graphs import int8_graph, two_inputs_graph


@pytest.fixture
def content(tmp_path):
    format.save(two_inputs_graph(), tmp_path / "valid.edgenet")
    return (tmp_path / "valid.edgenet").read_bytes()


def test_the_test_s_own_writer_makes_valid_files(tmp_path, content):
    assert judge(join(*split(content)), tmp_path / "m") is None
    assert seal(content) == content


def test_every_flipped_byte_is_refused(tmp_path, content):
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x41
        assert judge(bytes(damaged), tmp_path / "m") is not None


def test_every_length_is_refused(tmp_path, content):
    for length in range(len(content)):
        assert judge(content[:length], tmp_path / "m") is not None
    assert "followed by other data" in str(judge(content + b"\0" * 64, tmp_path / "m"))
    assert "truncated" in str(judge(content[:-64], tmp_path / "m"))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("magic", b"PK\x03\x04\0\0\0\0", "not an .edgenet file"),
        ("magic", b"\x89EDGENEX", "not an .edgenet file"),
        ("major", 2, "newer than edgenet .* install a later edgenet"),
        ("major", 65535, "newer than edgenet"),
        ("major", 0, "preamble is damaged"),
        ("reserved", 1, "preamble is damaged"),
        ("file_size", 0, "followed by other data"),
        ("file_size", 2**64 - 1, "truncated"),
        ("header_size", 0, "the header cannot have 0 bytes"),
        ("header_size", 2**32 - 1, "the header cannot have"),
        ("header_size", 33, "the header cannot have"),
        ("header_size", 32, "not JSON"),
    ],
)
def test_preamble(field, value, message, tmp_path, content):
    (tmp_path / "m").write_bytes(join(*split(content), **{field: value}))
    with pytest.raises(ModelFormatError, match=message):
        format.load(tmp_path / "m")


def test_empty_and_foreign_files(tmp_path):
    assert "too short" in str(judge(b"", tmp_path / "m"))
    assert "too short" in str(judge(b"\x89EDGENET", tmp_path / "m"))
    assert "not an .edgenet file" in str(judge(os.urandom(4096), tmp_path / "m"))


def test_a_file_larger_than_the_memory_limit_is_not_even_summed(tmp_path, content):
    size = 2**40
    with open(tmp_path / "m", "wb") as file:
        file.write(join(*split(content), file_size=size))
        file.truncate(size)
    with pytest.raises(ModelFormatError, match="more than the 4294967296 bytes"):
        format.load(tmp_path / "m")


def test_buffers_neither_overlap_nor_leave_gaps(tmp_path):
    format.save(int8_graph(), tmp_path / "valid")
    header, buffers = split((tmp_path / "valid").read_bytes())
    constants = [tensor for tensor in header["tensors"] if "offset" in tensor]
    first, second = constants[:2]

    def refused(message: str, data: bytes = buffers) -> None:
        assert message in str(judge(join(header, data), tmp_path / "m"))

    original = second["offset"]
    for offset in (first["offset"], original + 64, original - 1, original + 2**40, -64):
        second["offset"] = offset
        refused("a buffer begins at")
    second["offset"] = original
    refused("belong to no constant", buffers + padded(b"\0"))
    refused("beyond the end", buffers[:-64])
    scale, first["scale"] = first["scale"], {"offset": 0}
    refused("a buffer begins at")
    first["scale"] = scale
    for shape in ([2**31 - 1] * 8, [2**31 - 1, 3, 3, 3], [2**62, 4]):
        first["shape"], kept = shape, first["shape"]
        refused("a constant is larger than the file")
        first["shape"] = kept
    for shape in ([0, 3, 3, 3], [-1, 3, 3, 3], [-3, -3, 3, 3], [1] * 9):
        first["shape"], kept = shape, first["shape"]
        refused("invalid shape")
        first["shape"] = kept
    assert judge(join(header, buffers), tmp_path / "m") is None


def test_padding_is_zero(tmp_path, content):
    header, buffers = split(content)
    assert "padding between buffers" in str(judge(join(header, buffers[:-1] + b"\1"), tmp_path / "m"))

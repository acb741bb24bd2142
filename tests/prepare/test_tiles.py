"""Tiles of matrix registers: every pixel is in one, and every pair of tiles and panel in one unit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenet.kernels import isa
from edgenet.kernels.table_int8 import TILE_ROWS
from edgenet.prepare.lower_int8_tiles import divide, register_shapes, tile_starts


@given(pixels=st.integers(7, 3000), together=st.integers(1, 16))
def test_tiles_cover_every_pixel_and_no_other(pixels, together):
    height, starts = tile_starts(pixels, together)
    assert 4 <= height <= TILE_ROWS
    assert starts[0] == 0
    assert starts[-1] == pixels - height
    assert (np.diff(starts) <= height).all()
    assert len(starts) * height - pixels < len(starts) + height


@pytest.mark.parametrize(
    ("pixels", "together", "tiles"), [(49, 2, 4), (49, 8, 4), (196, 4, 16), (112, 1, 7), (7, 2, 1)]
)
def test_threads_get_as_many_tiles_each(pixels, together, tiles):
    assert len(tile_starts(pixels, together)[1]) == tiles


@given(
    tiles=st.integers(1, 500),
    tile_bytes=st.integers(16, 1 << 17),
    panels=st.integers(1, 64),
    weights_bytes=st.integers(1, 1 << 22),
    x_bytes=st.integers(1, 1 << 22),
    threads=st.integers(1, 8),
)
def test_blocks_and_spans_cover_everything(tiles, tile_bytes, panels, weights_bytes, x_bytes, threads):
    part = divide(tiles, tile_bytes, panels, weights_bytes, x_bytes, threads)
    assert 1 <= part.blocks <= max(1, -(-tiles // 2))
    assert (part.spans - 1) * part.span < panels <= part.spans * part.span
    assert threads == 1 or part.units >= min(threads, part.blocks * panels)


def test_shapes_of_registers():
    shapes = register_shapes(13)
    assert shapes[0] == 1
    assert shapes[48:56].tolist() == [13] * 6 + [16] * 2
    assert shapes[16:32].view(np.uint16).tolist() == [64] * 8


def test_without_linux_permission_the_registers_are_not_used(monkeypatch):
    flags = {flag for target in isa.INSTRUCTION_SETS.values() for flag in target.needs}
    monkeypatch.setattr(isa, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(isa, "architecture", lambda: "x86_64")
    for granted, last in ((True, "avx512_amx"), (False, "avx512_vnni")):
        monkeypatch.setattr(isa, "matrix_registers_granted", lambda granted=granted: granted)
        assert isa.available()[-1].name == last

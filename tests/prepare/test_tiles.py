"""Tiles of matrix registers: every pixel is in one, and every pair of a turn and a panel in one unit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenet.kernels import isa
from edgenet.kernels.table_int8 import CHUNK, CHUNK_ROWS, SQUARE_TURN, TALL_TURN, TILE_ROWS
from edgenet.prepare.lower_int8_tiles import divide, register_shapes
from edgenet.prepare.matrix_tiles import ImageLayout, Tiles, Window, product_tiles, row_tiles, window_tiles
from edgenet.prepare.prepare import prepare
from tests.kernels.int8_layers import layer
from tests.ops.builder import one_node


def finished(tiles: Tiles, pitch: int, width: int, step: int = 1) -> list[int]:
    """The pixels that turns finish; their sums must be those of windows `pitch` apart from row to row of the image.

    `step`: input pixels from one window of a row to the next.
    """
    rows, pixels = tiles.turn[0], []
    for turn in tiles.table():
        starts, chunks = turn[:rows], turn[rows:]
        lines = [start + line * step if start >= 0 else -1 for start in starts.tolist() for line in range(tiles.height)]
        for chunk in chunks[chunks >= 0].tolist():
            first, row = divmod(chunk, CHUNK_ROWS)
            for pixel, start in zip(range(first, first + CHUNK), lines[row : row + CHUNK], strict=True):
                assert start == pixel // width * pitch + pixel % width * step
                pixels.append(pixel)
    return pixels


@given(pixels=st.integers(7, 3000), threads=st.integers(1, 8))
def test_tiles_cover_every_pixel_and_no_other(pixels, threads):
    tiles = product_tiles(pixels, threads)
    assert CHUNK <= tiles.height <= TILE_ROWS
    assert tiles.starts[0] == 0
    assert tiles.starts[-1] == pixels - tiles.height
    done = finished(tiles, 0, pixels)
    assert sorted(set(done)) == list(range(pixels))
    assert len(done) < pixels + CHUNK * (tiles.turns + 1)


@pytest.mark.parametrize(
    ("pixels", "together", "tiles"), [(49, 2, 4), (49, 8, 4), (196, 4, 16), (112, 1, 7), (7, 2, 1)]
)
def test_threads_get_as_many_tiles_each(pixels, together, tiles):
    assert len(row_tiles(pixels, together)[0]) == tiles


@given(
    out=st.tuples(st.integers(1, 40), st.integers(7, 40)),
    kernel=st.integers(1, 5),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.integers(1, 3),
    pads=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    depth=st.sampled_from([16, 512]),
)
def test_windows_through_the_padding(out, kernel, stride, dilation, pads, depth):
    """The tiles are no more than row by row, and read nothing behind the image, which has all rows of the input."""
    tap = (kernel - 1) * dilation
    reach = [(n - 1) * step + tap + 1 for n, step in zip(out, stride, strict=True)]
    left, width = pads[0], max(1, reach[1] - sum(pads))
    size = (reach[0], max(reach[1], left + width))
    window = Window(out, (kernel, kernel), stride, (dilation, dilation), size, left, width)
    tiles, layout = window_tiles(window, depth)
    pitch = layout.row(stride[0]) * layout.width
    assert sorted(set(finished(tiles, pitch, out[1], stride[1]))) == list(range(out[0] * out[1]))
    last = tiles.starts.max() + (tiles.height - 1) * stride[1] + tap
    pixels = layout.phases * layout.height * layout.width
    assert max(last + layout.row(row * dilation) * layout.width for row in range(kernel)) < pixels
    assert layout.width >= left + width
    assert layout.phases * layout.height >= size[0]
    assert len(tiles.starts) <= out[0] * -(-out[1] // TILE_ROWS)
    assert tiles.turn == SQUARE_TURN or len(tiles.starts) % TALL_TURN[0] == 0


@pytest.mark.parametrize(
    ("out", "stride", "depth", "turn", "tiles", "layout"),
    [
        ((7, 7), 1, 512, TALL_TURN, 4, (1, 10, 8)),
        ((7, 7), 1, 1024, SQUARE_TURN, 4, (1, 10, 8)),
        ((7, 7), 1, 64, SQUARE_TURN, 4, (1, 10, 8)),
        ((14, 14), 1, 256, SQUARE_TURN, 14, (1, 16, 16)),
        ((56, 56), 1, 128, TALL_TURN, 200, (1, 59, 57)),
        ((112, 112), 1, 64, SQUARE_TURN, 784, (1, 114, 114)),
        ((7, 7), 2, 512, SQUARE_TURN, 4, (2, 8, 16)),
        ((14, 14), 2, 256, SQUARE_TURN, 14, (1, 29, 29)),
        ((20, 20), 2, 128, SQUARE_TURN, 28, (2, 23, 42)),
        ((56, 56), 2, 64, SQUARE_TURN, 224, (1, 113, 113)),
    ],
)
def test_windows_of_real_layers(out, stride, depth, turn, tiles, layout):
    """Rows of seven pixels waste half of a tile that ends with them."""
    size = [(n - 1) * stride + 3 for n in out]
    window = Window(out, (3, 3), (stride, stride), (1, 1), (size[0], size[1]), 1, out[1] * stride)
    found, image = window_tiles(window, depth)
    assert (found.turn, len(found.starts), image) == (turn, tiles, ImageLayout(*layout))


def test_rows_of_phases():
    layout = ImageLayout(3, 4, 10)
    assert [layout.row(number) for number in range(12)] == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


def test_images_follow_each_other():
    tiles = product_tiles(7, 1).of_depth(3).of_images(2, 100, 7)
    assert tiles.starts.tolist() == [0, 100]
    assert tiles.pixels.tolist() == [list(range(7)), list(range(7, 14))]


@given(
    turns=st.integers(1, 500),
    turn_bytes=st.integers(16, 1 << 17),
    panels=st.integers(1, 64),
    weights_bytes=st.integers(1, 1 << 22),
    x_bytes=st.integers(1, 1 << 22),
    threads=st.integers(1, 8),
)
def test_blocks_and_spans_cover_everything(turns, turn_bytes, panels, weights_bytes, x_bytes, threads):
    part = divide(turns, turn_bytes, panels, weights_bytes, x_bytes, threads)
    assert 1 <= part.blocks <= turns
    assert (part.spans - 1) * part.span < panels <= part.spans * part.span
    assert threads == 1 or part.units >= min(threads, part.blocks * panels)


@pytest.mark.parametrize(
    ("x", "weight", "kernel"),
    [
        ((56, 56, 24), (144, 1, 1, 24), "s8_pw_14x32"),
        ((56, 56, 32), (192, 1, 1, 32), "s8_matrix_32x32"),
        ((56, 56, 32), (16, 1, 1, 32), "s8_pw_14x32"),
        ((56, 56, 96), (24, 1, 1, 96), "s8_matrix_32x32"),
        ((56, 56, 3), (32, 3, 3, 3), "s8_image_14x32"),
        ((56, 56, 3), (64, 7, 7, 3), "s8_matrix_32x32"),
        ((9, 9, 512), (64, 3, 3, 512), "s8_matrix_32x32"),
        ((3, 2, 512), (64, 1, 1, 512), "s8_pw_14x32"),
    ],
)
def test_short_sums_and_few_pixels_stay_in_vector_registers(x, weight, kernel):
    arrays, quantization = layer(np.random.default_rng(0), (1, *x), weight)
    constants = ("weight", "bias", "multiplier")
    graph = one_node("conv2d", arrays, constants=constants, quantization=quantization, output=(0.25, -7))
    plan = prepare(graph, {"x": (1, *x)}, isa.by_name("avx512_amx"), 1)
    assert kernel in plan.kernels()


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

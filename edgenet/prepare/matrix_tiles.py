"""Tiles of pixels for matrix registers, and which of their sums belong to which pixels (see `kernels.matrix_int8`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgenet.kernels.table_int8 import CHUNK, CHUNK_ROWS, SQUARE_TURN, TALL_TURN, TILE_ROWS

LEAST_PIXELS = 7
"""With fewer, tiles are mostly empty."""
_TALL_DEPTH = 1024
"""Products of a sum from which on the weights of a square turn leave the first-level cache no room for input."""
_TURNS = 4096
"""Turns whose table is made at a time, which keeps what that takes small beside the network's own data."""
_PHASES_SHARE = 0.75
"""The part of tiles row by row that is left where phases pay: a thread's rows then lie in as many places, which were
other threads' in other layers (see `prepare.arena`).
"""
_NEAR_BYTES = 42 * 1024
"""Input of a turn that stays in the first-level cache while weights pass."""


@dataclass(frozen=True)
class Tiles:
    """Tiles for turns of so many rows and columns of tiles.

    `starts`: where each tile's first pixel begins in the input, in pixels or bytes; `pixels` [tiles][height]: the
    number of each pixel in the output, -1 where it is none, or one that another tile has.
    """

    turn: tuple[int, int]
    starts: np.ndarray
    pixels: np.ndarray

    @property
    def height(self) -> int:
        """Pixels of a tile."""
        return self.pixels.shape[1]

    @property
    def turns(self) -> int:
        """Turns that all tiles take."""
        return -(-len(self.starts) // self.turn[0])

    def whole(self) -> Tiles:
        """With as many tiles as tall turns need: the last one again, of which nothing is finished."""
        missing = -len(self.starts) % self.turn[0] if self.turn == TALL_TURN else 0
        pixels = np.pad(self.pixels, ((0, missing), (0, 0)), constant_values=-1)
        return replace(self, starts=np.pad(self.starts, (0, missing), "edge"), pixels=pixels)

    def of_depth(self, depth: int) -> Tiles:
        """Starts count bytes instead of pixels."""
        return replace(self, starts=self.starts * depth)

    def of_images(self, batch: int, image_stride: int, pixels: int) -> Tiles:
        """Of several images, so far apart in the input and in the output."""
        images = np.arange(batch)[:, None]
        known = np.where(self.pixels < 0, -1, images[..., None] * pixels + self.pixels)
        starts = images * image_stride + self.starts
        return replace(self, starts=starts.reshape(-1), pixels=known.reshape(-1, self.height))

    def table(self) -> np.ndarray:
        """For each turn the starts of its tiles, -1 for one that it has not, and what to finish: see `_chunks`."""
        rows, missing = self.turn[0], -len(self.pixels) % self.turn[0]
        pixels = np.pad(self.pixels, ((0, missing), (0, 0)), constant_values=-1).reshape(self.turns, -1)
        parts = [_chunks(pixels[first : first + _TURNS]) for first in range(0, self.turns, _TURNS)]
        most = max(part.shape[1] for part in parts)
        chunks = [np.pad(part, ((0, 0), (0, most - part.shape[1])), constant_values=-1) for part in parts]
        starts = np.pad(self.starts, (0, missing), constant_values=-1).reshape(-1, rows)
        return np.concatenate([starts, np.concatenate(chunks)], axis=1)


def _chunks(pixels: np.ndarray) -> np.ndarray:
    """What turns that have `pixels` [turns][rows of sums] finish: [turns][chunks], see CHUNK_ROWS, or -1.

    Pixels that follow each other in a turn and in the output are finished CHUNK at a time, the last of them with some
    of those before; fewer than CHUNK that are alone are not finished.
    """
    number = np.arange(pixels.shape[1])
    around = np.pad(pixels, ((0, 0), (1, 1)), constant_values=-2)
    begin = np.maximum.accumulate(np.where(pixels != around[:, :-2] + 1, number, 0), axis=1)
    ends = np.where(pixels != around[:, 2:] - 1, number + 1, len(number))
    end = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    chosen = (pixels >= 0) & ((number - begin) % CHUNK == 0) & (end - begin >= CHUNK)
    turn, row = np.nonzero(chosen)
    row = np.minimum(row, end[turn, row] - CHUNK)
    chunks = np.full((len(pixels), chosen.sum(axis=1).max()), -1, np.int64)
    chunks[turn, np.cumsum(chosen, axis=1)[chosen] - 1] = pixels[turn, row] * CHUNK_ROWS + row
    return chunks


def row_tiles(pixels: int, together: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the tiles of a row of pixels begin, and the pixels of each: as equal as can be, the last ends with the row.

    Their number is a multiple of `together`, unless they became small.
    """
    tiles = -(-pixels // TILE_ROWS)
    if pixels >= -(-tiles // together) * together * LEAST_PIXELS:
        tiles = -(-tiles // together) * together
    height = -(-pixels // tiles)
    starts = np.minimum(np.arange(tiles) * height, pixels - height)
    known = np.concatenate([[0], height - np.diff(starts)])
    known = np.where(known < height, np.minimum(known, height - CHUNK), height)
    columns = np.arange(height)
    return starts, np.where(columns < known[:, None], -1, starts[:, None] + columns)


def _turns_through(height: int, width: int, pitch: int, length: int) -> list[int]:
    """Where turns of `length` positions begin that cover rows of `width` pixels, `pitch` positions apart.

    No row is divided into parts of fewer than CHUNK pixels.
    """
    starts, position = [], 0
    while position < (height - 1) * pitch + width:
        starts.append(position)
        position += length
        row, column = divmod(position, pitch)
        if column >= width:
            position = (row + 1) * pitch
        elif column < CHUNK:
            position = row * pitch
        else:
            position = min(position, row * pitch + width - CHUNK)
    return starts


def tiles_through_padding(height: int, width: int, pitch: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Where tiles begin, and the pixels of each, that go on through the padding between rows of CHUNK pixels or more.

    Positions of the input count from the first pixel; a row begins `pitch` behind the one before. There are as few
    tiles as can be, in whole turns of `rows`, and as low ones.
    """
    high = TILE_ROWS
    first = _turns_through(height, width, pitch, rows * high)
    while high > CHUNK and len(lower := _turns_through(height, width, pitch, rows * (high - 1))) == len(first):
        first, high = lower, high - 1
    starts = (np.array(first)[:, None] + np.arange(rows) * high).reshape(-1)
    row, column = np.divmod(starts[:, None] + np.arange(high), pitch)
    return starts, np.where((column < width) & (row < height), row * width + column, -1)


def product_tiles(pixels: int, threads: int) -> Tiles:
    """Tiles of a product of a matrix of `pixels` rows."""
    return Tiles(SQUARE_TURN, *row_tiles(pixels, SQUARE_TURN[0] * threads))


@dataclass(frozen=True)
class Window:
    """What is read by a convolution, down and across: sizes of output and kernel, strides, dilations, and the size of
    an image with padding, `left` of each row of `width` pixels and behind it.
    """

    out: Sequence[int]
    kernel: Sequence[int]
    stride: Sequence[int]
    dilation: Sequence[int]
    size: tuple[int, int]
    left: int
    width: int


def _row_by_row(window: Window, turn: tuple[int, int]) -> Tiles:
    """Tiles that end with an output row."""
    rows = np.arange(window.out[0])[:, None]
    starts, columns = row_tiles(window.out[1], 1)
    pixels = np.where(columns < 0, -1, rows[..., None] * window.out[1] + columns)
    starts = rows * window.stride[0] * window.size[1] + starts * window.stride[1]
    return Tiles(turn, starts.reshape(-1), pixels.reshape(starts.size, -1)).whole()


@dataclass(frozen=True)
class ImageLayout:
    """An image with its padding as [phases][height][width]: a phase has every so many rows, from its number on."""

    phases: int
    height: int
    width: int

    def row(self, number: int) -> int:
        """Which row of the layout this row of the image is."""
        return number % self.phases * self.height + number // self.phases


def _through_padding(window: Window, turn: tuple[int, int], most: int) -> tuple[Tiles, ImageLayout] | None:
    """Tiles that go on through the padding right of a row, which is that on the left of the next, and the image.

    Rows that follow each other in the output do so in the layout as well. None where there is no padding, or so much
    that outputs would share it, or there would be more than `most` tiles.
    """
    (down, across), (_, columns) = window.stride, window.out
    pitch = -(-(window.width + max(window.left, window.size[1] - window.left - window.width)) // across)
    full = pitch * across
    if window.size[1] == window.width or not CHUNK <= columns <= pitch:
        return None
    if (window.out[0] - 1) * pitch + columns > most * TILE_ROWS:
        return None
    starts, pixels = tiles_through_padding(window.out[0], columns, pitch, turn[0])
    last = (int(starts[-1]) + pixels.shape[1] - 1) * across + (window.kernel[1] - 1) * window.dilation[1]
    height = last // full + (window.kernel[0] - 1) * window.dilation[0] // down + 1
    return (Tiles(turn, starts * across, pixels), ImageLayout(down, height, full)) if len(starts) <= most else None


def window_tiles(window: Window, depth: int) -> tuple[Tiles, ImageLayout]:
    """As few tiles as can be for a convolution of so many input channels, and the image that they read.

    Tall turns serve where their input stays in the first-level cache until the next, but the weights of a square one
    would not.
    """
    found = []
    for turn in (SQUARE_TURN, TALL_TURN):
        tiles = _row_by_row(window, turn)
        most = len(tiles.starts) - 1 if window.stride[0] == 1 else int(_PHASES_SHARE * len(tiles.starts))
        found.append(_through_padding(window, turn, most) or (tiles, ImageLayout(1, *window.size)))
    square, (tall, layout) = found
    reach = tall.starts[TALL_TURN[0] - 1] + tall.height + (window.kernel[0] - 1) * window.dilation[0] * layout.width
    near = max(window.stride) == 1 and reach * depth <= _NEAR_BYTES
    deep = depth * math.prod(window.kernel) >= _TALL_DEPTH
    return (tall, layout) if near and deep and len(tall.starts) <= len(square[0].starts) else square

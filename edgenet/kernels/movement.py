"""Copies: strided, padded and gathered rows, transposition, interleaving. Addresses, strides and runs are in bytes."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from edgenet.kernels.native import load_word
from edgenet.kernels.simd_bytes import copy_chunk, copy_register, fill_chunk, register_bytes
from edgenet.kernels.simd_shuffle import (
    interleave,
    load_planes,
    store_all,
    store_first,
    tile_side,
    transpose_tile,
    transpose_tile_partial,
)
from edgenet.kernels.tuples import least


@njit(inline="always")
def copy_run(x, y, size):
    """Copy `size` bytes; never touches others. The ends overlap within the run."""
    register = register_bytes()
    if size >= register:
        place = 0
        while place + register <= size:
            copy_register(x + place, y + place)
            place += register
        if place < size:
            copy_register(x + size - register, y + size - register)
    elif size >= 32:
        copy_chunk(x, y, 32)
        copy_chunk(x + size - 32, y + size - 32, 32)
    elif size >= 16:
        copy_chunk(x, y, 16)
        copy_chunk(x + size - 16, y + size - 16, 16)
    elif size >= 8:
        copy_chunk(x, y, 8)
        copy_chunk(x + size - 8, y + size - 8, 8)
    elif size >= 4:
        copy_chunk(x, y, 4)
        copy_chunk(x + size - 4, y + size - 4, 4)
    else:
        for i in range(size):
            copy_chunk(x + i, y + i, 1)


@njit(inline="always")
def fill_run(pattern, y, size):
    """Repeat a pattern of 4 bytes over `size` bytes (a multiple of 4, unless its bytes are equal)."""
    place = 0
    while place + 16 <= size:
        fill_chunk(pattern, y + place, 16)
        place += 16
    while place + 4 <= size:
        fill_chunk(pattern, y + place, 4)
        place += 4
    while place < size:
        fill_chunk(pattern, y + place, 1)
        place += 1


def copy() -> Callable[..., None]:
    """Rows of `run` bytes (the last row: `last`) from one strided array to another. Unit: a row, of n0*n1*n2*n3."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        n1: int,
        n2: int,
        n3: int,
        x0: int,
        x1: int,
        x2: int,
        x3: int,
        y0: int,
        y1: int,
        y2: int,
        y3: int,
        run: int,
        rows: int,
        last: int,
    ):
        row = begin
        i3 = row % n3
        i2 = (row // n3) % n2
        i1 = (row // (n3 * n2)) % n1
        i0 = row // (n3 * n2 * n1)
        while row < end:
            source = x + i0 * x0 + i1 * x1 + i2 * x2 + i3 * x3
            target = y + i0 * y0 + i1 * y1 + i2 * y2 + i3 * y3
            stop = least(n3, i3 + end - row)
            row += stop - i3
            while i3 < stop:
                size = run
                if row == rows and i3 == n3 - 1:
                    size = last
                copy_run(source, target, size)
                source += x3
                target += y3
                i3 += 1
            i3 = 0
            i2 += 1
            if i2 == n2:
                i2 = 0
                i1 += 1
                if i1 == n1:
                    i1 = 0
                    i0 += 1

    return kernel


def pad() -> Callable[..., None]:
    """A dense array [.., m0, m1, m2, run] inside a larger one filled with a pattern. Unit: a row of the output.

    Where there are several `phases`, which divide n2, each has n2 / phases rows: every so many, from its number on.
    Threads take the rows in the input's order.
    """

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        n0: int,
        n1: int,
        n2: int,
        phases: int,
        m0: int,
        m1: int,
        m2: int,
        before0: int,
        before1: int,
        before2: int,
        before: int,
        run: int,
        after: int,
        pattern: int,
    ):
        for row in range(begin, end):
            place, i2 = row, row % n2
            if phases > 1:
                place += i2 % phases * (n2 // phases) + i2 // phases - i2
            i2 -= before2
            i1 = (row // n2) % n1 - before1
            i0 = (row // (n2 * n1)) % n0 - before0
            outer = row // (n2 * n1 * n0)
            out = y + place * (before + run + after)
            if 0 <= i0 < m0 and 0 <= i1 < m1 and 0 <= i2 < m2:
                fill_run(pattern, out, before)
                copy_run(x + (((outer * m0 + i0) * m1 + i1) * m2 + i2) * run, out + before, run)
                fill_run(pattern, out + before + run, after)
            else:
                fill_run(pattern, out, before + run + after)

    return kernel


def gather_pixels() -> Callable[..., None]:
    """y[n, i, j] = x[n, rows[i], columns[j]], runs of bytes; the tables hold byte offsets. Unit: a row of output."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        rows: int,
        columns: int,
        out_height: int,
        out_width: int,
        image_stride: int,
        run: int,
    ):
        for unit in range(begin, end):
            source = x + (unit // out_height) * image_stride + load_word(rows + (unit % out_height) * 8)
            out = y + unit * out_width * run
            for j in range(out_width):
                copy_run(source + load_word(columns + j * 8), out, run)
                out += run

    return kernel


def transpose(element_bytes: int) -> Callable[..., None]:
    """y[.., p, .., q] = x[.., q, .., p]: p runs along memory in x, q in y; up to 3 outer axes.

    Unit: one tile of p for all of q.
    """

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        n1: int,
        n2: int,
        x0: int,
        x1: int,
        x2: int,
        y0: int,
        y1: int,
        y2: int,
        p_count: int,
        q_count: int,
        x_stride: int,
        y_stride: int,
    ):
        side = tile_side(element_bytes)
        tiles = (p_count + side - 1) // side
        for unit in range(begin, end):
            outer = unit // tiles
            i2 = outer % n2
            i1 = (outer // n2) % n1
            i0 = outer // (n2 * n1)
            p = (unit % tiles) * side
            columns = least(side, p_count - p)
            source = x + i0 * x0 + i1 * x1 + i2 * x2 + p * element_bytes
            target = y + i0 * y0 + i1 * y1 + i2 * y2 + p * y_stride
            q = 0
            while q < q_count:
                if columns == side and q + side <= q_count:
                    transpose_tile(source, x_stride, target, y_stride, element_bytes)
                else:
                    transpose_tile_partial(
                        source, x_stride, target, y_stride, least(side, q_count - q), columns, element_bytes
                    )
                source += side * x_stride
                target += side * element_bytes
                q += side

    return kernel


def interleave_planes(element_bytes: int, planes: int) -> Callable[..., None]:
    """y[r, i, p] = x[r, p, i]: `planes` runs of `length` elements become one. Unit: `block` elements of a run."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        y: int,
        length: int,
        block: int,
    ):
        side = tile_side(element_bytes)
        blocks = (length + block - 1) // block
        stride = length * element_bytes
        for unit in range(begin, end):
            row = unit // blocks
            i = (unit % blocks) * block
            stop = least(i + block, length)
            source = x + row * planes * stride
            target = y + row * planes * stride
            while i + side <= stop:
                values = load_planes(source + i * element_bytes, stride, side, planes, element_bytes)
                store_all(interleave(values), target + i * element_bytes * planes)
                i += side
            if i < stop:
                values = load_planes(source + i * element_bytes, stride, stop - i, planes, element_bytes)
                store_first(interleave(values), target + i * element_bytes * planes, (stop - i) * planes)

    return kernel

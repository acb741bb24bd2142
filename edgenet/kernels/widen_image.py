"""Copies an int8 image into a buffer with its padding, as the int16 that products of pairs take."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from edgenet.kernels.gemm_int8 import row_widener
from edgenet.kernels.simd import store
from edgenet.kernels.simd_bytes import register_bytes
from edgenet.kernels.simd_int8 import load_widened


def widen_image() -> Callable[..., None]:
    """A row of the padded image, in every channel the zero point around the image. Unit: a row, `y_stride` bytes.

    `run` values of x begin `before` values from the row's start; `outside` holds a register of zero points. Whole
    registers are written: a row has `IMAGE_SPARE_BYTES` beyond its pixels.
    """
    widen_row = row_widener()

    @njit(inline="always")
    def fill(outside, first, last):
        """Whole registers, the last of which ends at `last` or before."""
        for place in range(first, last - register_bytes() + 1, register_bytes()):
            store(load_widened(outside), place, 0)

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        image_stride: int,
        row_stride: int,
        outside: int,
        y: int,
        y_stride: int,
        padded_height: int,
        height: int,
        top: int,
        before: int,
        run: int,
    ):
        for unit in range(begin, end):
            in_y = unit % padded_height - top
            out = y + unit * y_stride
            if 0 <= in_y < height:
                fill(outside, out, out + before * 2 + register_bytes() - 1)
                widen_row(x + (unit // padded_height) * image_stride + in_y * row_stride, out + before * 2, run)
                fill(outside, out + (before + run) * 2, out + y_stride)
            else:
                fill(outside, out, out + y_stride)

    return kernel

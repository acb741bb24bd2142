"""int8 channels-last images times one factor a channel, as squeeze-and-excitation has them.

y[i, p, c] = requantized((x[i, p, c] - x's zero point) * (factor[i, c] - factor's) * multiplier); no product of all
three may reach 2**31. Bounds and zero points are as they lie in memory.
"""

from __future__ import annotations

from collections.abc import Callable

from edgenet.kernels.int8_arithmetic import centered
from edgenet.kernels.simd import lane_count, multiply, repeat
from edgenet.kernels.simd_bytes import load_row_bytes
from edgenet.kernels.simd_gate import gate_channels, gate_pixel, load_factors
from edgenet.kernels.simd_int8 import load_tile_bytes
from edgenet.kernels.simd_requantize import store_rounded
from edgenet.kernels.tuples import least, sequence


def gate(rows: int) -> Callable[..., None]:
    """At least `rows` pixels an image, and a vector of channels.

    Unit: `rows` pixels, the last ones moved back to end with the image.
    """

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        factors: int,
        y: int,
        pixels: int,
        channels: int,
        zero_x: int,
        zero_factor: int,
        zero: int,
        smallest: int,
        largest: int,
        multiplier: float,
    ):
        lanes = lane_count()
        bounds = (zero, smallest, largest)
        blocks = (pixels + rows - 1) // rows
        for unit in range(begin, end):
            image = unit // blocks
            first = image * pixels + least(unit % blocks * rows, pixels - rows)
            places = sequence(x + first * channels, channels, rows)
            targets = sequence(y + first * channels, channels, rows)
            channel = 0
            while channel < channels:
                channel = least(channel, channels - lanes)
                stored = load_row_bytes(factors + image * channels, channel, 1)
                factor = centered(stored, zero_factor)
                values = centered(load_tile_bytes(places, channel, repeat(stored, rows)), zero_x)
                store_rounded(multiply(multiply(values, factor), multiplier), targets, channel, bounds, 0, 0)
                channel += lanes

    return kernel


def gate_wide() -> Callable[..., None]:
    """At least four vectors of channels. Unit: `block` pixels of an image."""

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        factors: int,
        y: int,
        pixels: int,
        channels: int,
        block: int,
        zero_x: int,
        zero_factor: int,
        zero: int,
        smallest: int,
        largest: int,
        multiplier: float,
    ):
        together = gate_channels()
        bounds = (zero, smallest, largest)
        blocks = (pixels + block - 1) // block
        for unit in range(begin, end):
            image = unit // blocks
            first = unit % blocks * block
            count = least(block, pixels - first)
            start = (image * pixels + first) * channels
            channel = 0
            while channel < channels:
                channel = least(channel, channels - together)
                factor = load_factors(factors + image * channels + channel, zero_x, zero_factor)
                place = start + channel
                for _ in range(count):
                    gate_pixel(x + place, y + place, factor, multiplier, bounds)
                    place += channels
                channel += together

    return kernel

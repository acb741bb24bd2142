"""nn.Unfold and nn.Fold, the windows of an image as columns and back, and Tensor.unfold, windows along an axis.

Windows side by side are a matter of layout; others are convolutions with weights of which one is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from edgenet.dtypes import BATCH

from .context import Importer
from .convolution import convolve
from .layout import cut, join, relabel
from .registry import Unsupported, handles
from .regroup import regroup
from .values import Constant, Value


def _side_by_side(a: Mapping[str, Any]) -> bool:
    plain = not any(a["padding"]) and all(d == 1 for d in a["dilation"])
    return plain and list(a["stride"]) == list(a["kernel_size"])


def _choosing(importer: Importer, channels: int, kernel: list[int]) -> Constant:
    """Weights [channels * kh * kw, 1, kh, kw] of a grouped convolution that gives each place of a window."""
    places = kernel[0] * kernel[1]
    return importer.made(torch.eye(places).reshape(places, 1, *kernel).repeat(channels, 1, 1, 1))


def _windows(a: Mapping[str, Any], height: int, width: int) -> tuple[list[int], list[int]]:
    """How many rows and columns of windows an image has, and how many of its own no window reaches."""
    sizes = zip((height, width), a["kernel_size"], a["stride"], a["padding"], a["dilation"], strict=True)
    steps = [divmod(size + 2 * pad - gap * (extent - 1) - 1, step) for size, extent, step, pad, gap in sizes]
    return [count + 1 for count, _ in steps], [rest for _, rest in steps]


def _convolved(
    importer: Importer, a: Mapping[str, Any], x: Value, channels: int, transposed: bool, beyond: list[int]
) -> Value:
    arguments = {key: list(a[key]) for key in ("stride", "padding", "dilation")}
    weight = _choosing(importer, channels, list(a["kernel_size"]))
    given = {"input": x, "weight": weight, "bias": None, "groups": channels, "output_padding": beyond}
    return convolve(importer, {**arguments, **given}, transposed)


@handles("im2col")
def im2col(importer: Importer, a: Mapping[str, Any]) -> Value:
    """nn.Unfold: [N, C, H, W] to [N, C * kh * kw, windows]."""
    x, (kh, kw) = a["self"], a["kernel_size"]
    _, channels, height, width = importer.shape(x)
    (rows, columns), _ = _windows(a, height, width)
    if not _side_by_side(a):
        x = _convolved(importer, a, x, channels, False, [0, 0])
        return regroup(importer, x, (BATCH, channels * kh * kw, rows * columns))
    if (rows * kh, columns * kw) != (height, width):
        x = cut(importer, cut(importer, x, 2, 0, rows * kh), 3, 0, columns * kw)
    x = regroup(importer, x, (BATCH, channels, rows, kh, columns, kw))
    return regroup(importer, relabel(x, [0, 1, 3, 5, 2, 4]), (BATCH, channels * kh * kw, rows * columns))


@handles("col2im")
def col2im(importer: Importer, a: Mapping[str, Any]) -> Value:
    """nn.Fold: the sums of what windows hold for each pixel."""
    x, (kh, kw), (height, width) = a["self"], a["kernel_size"], a["output_size"]
    channels, ((rows, columns), rest) = importer.shape(x)[1] // (kh * kw), _windows(a, height, width)
    if not _side_by_side(a):
        x = regroup(importer, x, (BATCH, channels * kh * kw, rows, columns))
        return _convolved(importer, a, x, channels, True, rest)
    if (rows * kh, columns * kw) != (height, width):
        raise Unsupported("its windows leave a border; use an output_size that they divide")
    x = regroup(importer, x, (BATCH, channels, kh, kw, rows, columns))
    return regroup(importer, relabel(x, [0, 1, 4, 2, 5, 3]), (BATCH, channels, height, width))


_MOST_PLACES = 64
"""Slices that windows along an axis may take."""


@handles("unfold")
def unfold(importer: Importer, a: Mapping[str, Any]) -> Value:
    """Tensor.unfold: windows along an axis, whose places become a last axis: a slice for each place."""
    x, size, step = a["self"], a["size"], a["step"]
    dim = a["dimension"] % x.rank
    if not 0 < size <= _MOST_PLACES:
        raise Unsupported(f"windows of 1 to {_MOST_PLACES} values are converted")
    importer.axis(x, dim)
    windows = (importer.shape(x)[dim] - size) // step + 1
    places = []
    for first in range(size):
        place = cut(importer, x, dim, first, first + (windows - 1) * step + 1, step)
        places.append(regroup(importer, place, (*importer.shape(place), 1)))
    return join(importer, places, x.rank) if size > 1 else places[0]

"""Convolutions of windows or patches that a module has folded into the batch (see `moved`).

The windows of a sample lie below each other in one tall image, each with its own padding; of the results, those rows
are kept that belong to a window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgenet.dtypes import BATCH

from .context import Importer, parameter
from .convolution import convolve, paddings, spatial
from .layout import cut, pad_axis, relabel
from .moved import Moved, merged
from .registry import Unsupported
from .regroup import regroup


def convolve_windows(importer: Importer, a: Mapping[str, Any]) -> Moved:
    """conv2d of a `Moved` whose samples are on axis 0, with windows."""
    x = merged(importer, a["input"])
    weight = parameter(a["weight"], "weight")
    if x.rank != 4 or 0 not in x.groups[0] or a.get("transposed") or weight.tensor.dim() != 4:
        raise Unsupported("its input has samples elsewhere; keep samples on axis 0")
    stride, dilation, kernel = spatial(a["stride"], 2), spatial(a["dilation"], 2), list(weight.tensor.shape[2:])
    given = a["padding"] if isinstance(a["padding"], str) else spatial(a["padding"], 2)
    top, bottom, left, right = paddings(given, kernel, stride, dilation)
    windows = [axis for axis in x.groups[0] if axis]
    channels, rows, columns = (group[0] for group in x.groups[1:])
    shape = importer.shape(x.value)
    count = [shape[axis] for axis in windows]
    reach = dilation[0] * (kernel[0] - 1)
    period = -(-(shape[rows] + top + bottom) // stride[0]) * stride[0]
    value = pad_axis(importer, x.value, rows, top, period - shape[rows] - top, "border")
    value = pad_axis(importer, value, columns, left, right, "border")
    order = [0, channels, *windows, rows, columns]
    tall_shape = (BATCH, shape[channels], math.prod(count) * period, shape[columns] + left + right)
    tall = pad_axis(importer, regroup(importer, relabel(value, order), tall_shape), 2, 0, reach, "border")
    made = convolve(importer, {**a, "input": tall, "padding": [0, 0]}, False)
    _, filters, _, wide = importer.shape(made)
    high = (shape[rows] + top + bottom - reach - 1) // stride[0] + 1
    found = regroup(importer, made, (BATCH, filters, *count, period // stride[0], wide))
    found = cut(importer, found, 2 + len(count), 0, high)
    return Moved(relabel(found, [order.index(axis) for axis in range(len(order))]), x.groups)

"""Convolutions of windows or patches that a module has folded into the batch (see `moved`).

The windows of a sample lie below each other in one tall image, each with its own padding; of the results, those rows
are kept that belong to a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgenet.dtypes import BATCH

from .context import Importer, parameter
from .convolution import convolve, paddings, spatial
from .layout import cut, relabel
from .moved import Moved, merged
from .registry import Unsupported
from .regroup import regroup
from .values import Value


def _padded(importer: Importer, x: Value, dim: int, before: int, behind: int) -> Value:
    """`x` with zeros along a torch axis."""
    if before == behind == 0:
        return x
    place = importer.axis(x, dim)
    pads = [0, 0] * place + [before, behind] + [0, 0] * (x.rank - 1 - place)
    return Value(importer.emit("pad", {"x": x.name}, {"pads": pads}, "border"), x.axes)


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
    value = _padded(importer, x.value, rows, top, period - shape[rows] - top)
    value = _padded(importer, value, columns, left, right)
    order = [0, channels, *windows, rows, columns]
    height = period
    for size in count:
        height *= size
    tall = regroup(importer, relabel(value, order), (BATCH, shape[channels], height, shape[columns] + left + right))
    made = convolve(importer, {**a, "input": _padded(importer, tall, 2, 0, reach), "padding": [0, 0]}, False)
    _, filters, _, wide = importer.shape(made)
    high = (shape[rows] + top + bottom - reach - 1) // stride[0] + 1
    found = regroup(importer, made, (BATCH, filters, *count, period // stride[0], wide))
    found = cut(importer, found, 2 + len(count), 0, high)
    return Moved(relabel(found, [order.index(axis) for axis in range(len(order))]), x.groups)

"""Padding: a constant, or the tensor's own elements, joined to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .context import Importer
from .layout import cut, join
from .registry import Unsupported, handles
from .values import MOST, Value


def _widths(pads: Sequence[Any], rank: int) -> list[tuple[int, int, int]]:
    """(torch axis, before, after) of every axis that is padded; `pads` are torch's, the last axis first."""
    if any(not isinstance(p, int) for p in pads):
        raise Unsupported("computed padding; use numbers")
    pairs = [(rank - 1 - i, pads[2 * i], pads[2 * i + 1]) for i in range(len(pads) // 2)]
    return [(axis, before, after) for axis, before, after in pairs if before or after]


def _cropped(importer: Importer, x: Value, widths: Sequence[tuple[int, int, int]]) -> Value:
    """`x` without what negative widths cut off."""
    for axis, before, after in widths:
        size = importer.shape(x)[axis]
        if before < 0 or after < 0:
            x = cut(importer, x, axis, max(0, -before), size - max(0, -after))
    return x


def _sources(mode: str, size: int, before: int, after: int) -> tuple[list[int], list[int]]:
    """Elements of an axis of `size` that lie before and after it."""
    if mode == "reflect":
        return list(range(before, 0, -1)), list(range(size - 2, size - 2 - after, -1))
    if mode == "replicate":
        return [0] * before, [size - 1] * after
    return list(range(size - before, size)), list(range(after))


@handles("pad", "constant_pad_nd")
def pad(importer: Importer, a: Mapping[str, Any]) -> Value:
    x, mode = a["self"], a.get("mode", "constant")
    if mode != "constant":
        return _extended(importer, x, a["pad"], mode)
    widths = _widths(a["pad"], x.rank)
    x = _cropped(importer, x, widths)
    padded = {axis: (max(0, before), max(0, after)) for axis, before, after in widths}
    if not any(n for pair in padded.values() for n in pair):
        return x
    pads = [n for axis in x.axes for n in padded.get(axis, (0, 0))]
    value = min(max(float(a["value"] or 0), -MOST), MOST)
    return Value(importer.emit("pad", {"x": x.name}, {"pads": pads, "value": value}), x.axes)


def _extended(importer: Importer, x: Value, pads: Sequence[Any], mode: str) -> Value:
    """Each axis in turn, so that corners hold what the mode says."""
    widths = _widths(pads, x.rank)
    x = _cropped(importer, x, widths)
    for axis, before, after in widths:
        sources = _sources(mode, importer.shape(x)[axis], max(0, before), max(0, after))
        edges = {i: cut(importer, x, axis, i, i + 1) for side in sources for i in side}
        x = join(importer, [*(edges[i] for i in sources[0]), x, *(edges[i] for i in sources[1])], axis)
    return x


def _register(mode: str, *names: str) -> None:
    @handles(*names)
    def extended(importer: Importer, a: Mapping[str, Any]) -> Value:
        return _extended(importer, a["self"], a["padding"], mode)


_register("reflect", "reflection_pad1d", "reflection_pad2d")
_register("replicate", "replication_pad1d", "replication_pad2d")

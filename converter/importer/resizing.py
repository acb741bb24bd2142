"""Resizing: nearest and bilinear as an operation of its own, bicubic and antialiased as products with matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

from .context import Importer
from .convolution import apply_linear
from .layout import relabel
from .registry import Unsupported, handles
from .values import Value


def _resize(importer: Importer, a: Mapping[str, Any], mode: str) -> Value:
    x = importer.images(a["input"] if "input" in a else a["self"])
    factors = a.get("scale_factors")
    if factors is None and a.get("scales_h") is not None and a.get("scales_w") is not None:
        factors = [a["scales_h"], a["scales_w"]]
    attributes: dict[str, Any] = {"mode": mode, "align_corners": bool(a.get("align_corners", False))}
    if factors is not None:
        attributes["scale"] = [float(f) for f in factors]
    else:
        attributes["size"] = [importer.dimension(s) for s in a["output_size"]]
    return Value(importer.emit("resize", {"x": x.name}, attributes), x.axes)


@handles("upsample_nearest1d", "upsample_linear1d")
def sequence(importer: Importer, a: Mapping[str, Any]) -> Value:
    """A picture of height 1."""
    assert importer.current is not None, "set by the walk over the program"
    x, factor = importer.lift(a["input"] if "input" in a else a["self"]), a.get("scales")
    factors = a.get("scale_factors") or (None if factor is None else [factor])
    mode = "nearest" if "nearest" in str(importer.current.target) else "bilinear"
    attributes: dict[str, Any] = {"mode": mode, "align_corners": bool(a.get("align_corners", False))}
    if factors is not None:
        attributes["scale"] = [1.0, float(factors[0])]
    else:
        attributes["size"] = [1, importer.dimension(a["output_size"][0])]
    return importer.lower(importer.emit("resize", {"x": x.name}, attributes))


@handles("upsample_nearest2d")
def nearest(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _resize(importer, a, "nearest")


@handles("_upsample_nearest_exact2d")
def nearest_exact(importer: Importer, a: Mapping[str, Any]) -> Value:
    """Enlarged by whole numbers, the same as nearest."""
    assert importer.current is not None, "set by the walk over the program"
    before, behind = importer.shape(a["input"])[2:], importer.current.meta["val"].shape[2:]
    if any(new % old for old, new in zip(before, behind, strict=True)):
        raise Unsupported("it resizes by no whole number; use the mode nearest or bilinear")
    return _resize(importer, a, "nearest")


@handles("upsample_bilinear2d")
def bilinear(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _resize(importer, a, "bilinear")


def _along(importer: Importer, x: Value, size: int, factor: float | None, options: Mapping[str, Any]) -> Value:
    """The last torch axis resized, as the product with the matrix that torch resizes unit vectors to."""
    length = importer.shape(x)[-1]
    unit = torch.eye(length).reshape(1, length, 1, length)
    to: dict[str, Any] = {"size": (1, size)} if factor is None else {"scale_factor": (1.0, factor)}
    matrix = F.interpolate(unit, **to, **options)[0, :, 0].T.contiguous()
    return apply_linear(importer, x, importer.made(matrix), None, "linear")


def _by_matrices(importer: Importer, a: Mapping[str, Any], **options: Any) -> Value:
    """Height and width resized one after the other."""
    assert importer.current is not None, "set by the walk over the program"
    x = a["input"] if "input" in a else a["self"]
    if not isinstance(x, Value) or x.rank != 4:
        raise Unsupported("its input must have 4 axes with the batch first")
    height, width = (importer.dimension(size) for size in importer.current.meta["val"].shape[2:])
    factors = a.get("scale_factors") or (a.get("scales_h"), a.get("scales_w"))
    options["align_corners"] = bool(a["align_corners"])
    turned = relabel(_along(importer, x, width, factors[1], options), [0, 1, 3, 2])
    return relabel(_along(importer, turned, height, factors[0], options), [0, 1, 3, 2])


@handles("upsample_bicubic2d")
def bicubic(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _by_matrices(importer, a, mode="bicubic")


@handles("_upsample_bilinear2d_aa")
def bilinear_antialiased(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _by_matrices(importer, a, mode="bilinear", antialias=True)


@handles("_upsample_bicubic2d_aa")
def bicubic_antialiased(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _by_matrices(importer, a, mode="bicubic", antialias=True)

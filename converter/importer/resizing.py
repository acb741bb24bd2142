"""Nearest and bilinear upsampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .context import Importer
from .registry import handles
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


@handles("upsample_nearest2d")
def nearest(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _resize(importer, a, "nearest")


@handles("upsample_bilinear2d")
def bilinear(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _resize(importer, a, "bilinear")

"""Why a measured saving and its law part, in a few words made of the row's own figures."""

from __future__ import annotations

from typing import Any

from .roofline import ARITHMETIC

APART = 1.25
"""Measured and predicted ratios that differ by less than this factor need no remark."""
_LOW = 0.8


def remark(row: dict[str, Any]) -> str:
    """What sets the measured ratio apart from the law, the weightiest reason first; empty where it follows the law."""
    factor = row["measured"] / row["law"]
    if 1 / APART <= factor <= APART:
        return ""
    standard = row["sides"]["standard"]["nodes"]
    other = next(side["nodes"] for name, side in row["sides"].items() if name in ("separable", "reduced"))
    slower, faster = (other, standard) if factor > 1 else (standard, other)
    del faster
    reasons = [_reason(name, node, row) for name, node in sorted(slower.items(), key=lambda n: -_lost(n[1], row))]
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason))


def _lost(node: dict[str, Any], row: dict[str, Any]) -> float:
    """Time that a node takes beyond its FLOPs at the pace of the standard convolution's limit."""
    standard = row["sides"]["standard"]
    return node["ms"] - node["flops"] * standard["bound_ms"] / standard["flops"]


def _reason(name: str, node: dict[str, Any], row: dict[str, Any]) -> str:
    if _lost(node, row) < 0.05 * row["sides"]["standard"]["ms"] * row["law"]:
        return ""
    if node["limit"] != ARITHMETIC:
        return f"bandwidth: {name} moves {_size(node['bytes'])} at the speed of {node['limit']}"
    if node["requantizing"] > 1 / 3:
        return f"requantization: {node['requantizing']:.0%} of the arithmetic of {name}"
    if node["share"] < _LOW:
        small = (
            " (small D2: it is most of the work)"
            if name == "depthwise" and row["law"] * row["layer"]["filters"] < 4
            else ""
        )
        return f"cache: {name} at {node['share']:.0%} of its limit, {_size(node['bytes'])}{small}"
    return ""


def _size(count: float) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"

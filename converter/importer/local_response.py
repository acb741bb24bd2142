"""local_response_norm, which torch.export leaves as the operators of its definition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx

from .registry import operator_name

RESHAPES = {"view", "squeeze", "unsqueeze", "reshape"}


@dataclass(frozen=True)
class LocalResponse:
    """x / (k + alpha * mean of squares) ** beta, found at its final division; `inner` are the nodes it replaces."""

    x: fx.Node
    size: int
    alpha: float
    beta: float
    k: float
    inner: tuple[fx.Node, ...]


def _name(node: Any) -> str:
    return operator_name(node.target) if isinstance(node, fx.Node) and node.op == "call_function" else ""


def match(node: fx.Node) -> LocalResponse | None:
    """The normalisation that ends in the division `node`, or None."""
    if _name(node) != "div" or len(node.args) < 2:
        return None
    numbers: dict[str, Any] = {}
    inner: list[fx.Node] = []
    current: Any = node.args[1]
    for name in ("pow", "add", "mul"):
        if _name(current) != name or not isinstance(current.args[1], int | float):
            return None
        numbers[name] = float(current.args[1])
        inner.append(current)
        current = current.args[0]
    while _name(current) in RESHAPES:
        inner.append(current)
        current = current.args[0]
    if _name(current) not in ("avg_pool3d", "avg_pool2d"):
        return None
    kernel = list(current.args[1])
    inner.append(current)
    padding: Any = current.args[0]
    if _name(padding) not in ("pad", "constant_pad_nd") or any(k != 1 for k in kernel[1:]):
        return None
    inner.append(padding)
    current = padding.args[0]
    while _name(current) in RESHAPES:
        inner.append(current)
        current = current.args[0]
    size = int(kernel[0])
    if _name(current) != "mul" or current.args[0] is not current.args[1] or current.args[0] is not node.args[0]:
        return None
    if list(padding.args[1])[-2:] != [size // 2, (size - 1) // 2] or any(list(padding.args[1])[:-2]):
        return None
    inner.append(current)
    if any(user not in (*inner, node) for part in inner for user in part.users):
        return None
    return LocalResponse(current.args[0], size, numbers["mul"], numbers["pow"], numbers["add"], tuple(inner))

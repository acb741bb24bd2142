"""Comparisons and logic of activations: a truth value is a float32 that is 1 or 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import torch

from .activation import activate
from .arithmetic import binary
from .context import Importer
from .registry import Unsupported, handles
from .values import Constant, Value


def negated(importer: Importer, truth: Any) -> Value:
    """not truth."""
    return binary(importer, "sub", 1.0, truth)


def greater(importer: Importer, a: Any, b: Any) -> Value:
    """a > b: their difference is 0 only for equal numbers, and NaN for equal infinities."""
    if isinstance(a, Value) and isinstance(b, int | float) and b == 0:
        return activate(importer, a, "step")
    if isinstance(b, Value) and isinstance(a, int | float) and a == 0:
        return activate(importer, activate(importer, b, "neg"), "step")
    return activate(importer, binary(importer, "sub", a, b), "step")


def _unequal(importer: Importer, a: Any, b: Any) -> Value:
    return activate(importer, activate(importer, binary(importer, "sub", a, b), "abs"), "step")


def _not_less(importer: Importer, a: Any, b: Any) -> Value:
    return negated(importer, greater(importer, b, a))


_COMPARISONS: dict[tuple[str, ...], Callable[[Importer, Any, Any], Value]] = {
    ("gt", "greater"): greater,
    ("lt", "less"): lambda importer, a, b: greater(importer, b, a),
    ("ge", "greater_equal"): _not_less,
    ("le", "less_equal"): lambda importer, a, b: _not_less(importer, b, a),
    ("ne", "not_equal"): _unequal,
    ("eq",): lambda importer, a, b: negated(importer, _unequal(importer, a, b)),
}


def _operand(value: Any) -> Any:
    """A constant of one value as a number."""
    one = isinstance(value, Constant) and value.tensor.dim() == 0
    return float(value.tensor) if one else value


def _register(names: tuple[str, ...], compare: Callable[[Importer, Any, Any], Value]) -> None:
    @handles(*names)
    def comparison(importer: Importer, a: Mapping[str, Any]) -> Value:
        return compare(importer, _operand(a["self"]), _operand(a["other"]))


for _names, _compare in _COMPARISONS.items():
    _register(_names, _compare)


def truth_value(importer: Importer, value: Any) -> Any:
    """An operand of logic. Unsupported for an activation that holds other numbers than truth values."""
    if isinstance(value, Constant):
        return importer.made(value.tensor.bool().float())
    assert importer.current is not None, "set by the walk over the program"
    meta = [node.meta["val"].dtype for node in importer.current.all_input_nodes if "val" in node.meta]
    if any(dtype != torch.bool for dtype in meta):
        raise Unsupported("an operand is no truth value; compare it first")
    return value


@handles("logical_and", "bitwise_and", "__and__")
def both(importer: Importer, a: Mapping[str, Any]) -> Value:
    return binary(importer, "mul", truth_value(importer, a["self"]), truth_value(importer, a["other"]))


@handles("logical_or", "bitwise_or", "__or__")
def either(importer: Importer, a: Mapping[str, Any]) -> Value:
    return activate(
        importer, binary(importer, "add", truth_value(importer, a["self"]), truth_value(importer, a["other"])), "step"
    )


@handles("logical_xor", "bitwise_xor", "__xor__")
def one_of_two(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _unequal(importer, truth_value(importer, a["self"]), truth_value(importer, a["other"]))


@handles("logical_not", "bitwise_not")
def neither(importer: Importer, a: Mapping[str, Any]) -> Value:
    return negated(importer, truth_value(importer, a["self"]))


BOOLEAN = {
    *chain(*_COMPARISONS),
    *("logical_and", "bitwise_and", "__and__", "logical_or", "bitwise_or", "__or__", "logical_xor", "bitwise_xor"),
    *("__xor__", "logical_not", "bitwise_not"),
}
"""Operators whose results are truth values."""

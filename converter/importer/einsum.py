"""torch.einsum of one or two operands: a product over the axes that the result lacks, between permutes and reshapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .context import Importer
from .convolution import apply_linear
from .layout import relabel
from .products import product
from .registry import Unsupported, handles
from .regroup import regroup
from .values import Constant, Value


def parse(equation: str, count: int) -> tuple[list[str], str]:
    """The axes of each operand and of the result, a letter each."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    operands = left.split(",")
    if "." in equation or len(operands) != count or any(len(set(axes)) < len(axes) for axes in operands):
        raise Unsupported("only equations without dots, and without a letter twice in an operand, are converted")
    if not arrow:
        result = "".join(letter for letter in sorted(set(left) - {","}) if left.count(letter) == 1)
    return operands, result


def _grouped(importer: Importer, x: Value, axes: str, groups: Sequence[str]) -> Value:
    """`x` with one axis for each group of letters."""
    shape = dict(zip(axes, importer.shape(x), strict=True))
    x = relabel(x, [axes.index(letter) for letter in "".join(groups)])
    first, *rest = groups
    return regroup(importer, x, (shape[first], *(math.prod(shape[letter] for letter in group) for group in rest)))


def _apart(importer: Importer, x: Value, sizes: Mapping[str, int], axes: str, result: str) -> Value:
    """`x` with an axis for each letter of `axes`, in the order of `result`."""
    x = regroup(importer, x, tuple(sizes[letter] for letter in axes))
    return relabel(x, [axes.index(letter) for letter in result])


def _with_constant(importer: Importer, x: Value, axes: str, c: Constant, letters: str, result: str) -> Value:
    """A linear layer over the axes that both have; its outputs are those that only the constant has."""
    summed = "".join(letter for letter in axes if letter in letters)
    new = "".join(letter for letter in letters if letter not in summed)
    kept = "".join(letter for letter in axes if letter not in summed)
    if set(kept + new) != set(result) or not summed or result[0] != kept[0]:
        raise Unsupported("the constant has axes in common with the result and the input; use a product instead")
    sizes = dict(zip(axes + new, importer.shape(x) + tuple(c.tensor.shape[letters.index(n)] for n in new), strict=True))
    order = [letters.index(letter) for letter in new + summed]
    matrix = c.tensor.permute(order).reshape(math.prod(sizes[n] for n in new), -1)
    y = apply_linear(importer, _grouped(importer, x, axes, [*kept, summed]), importer.made(matrix), None, "linear")
    return _apart(importer, y, sizes, kept + new, result)


@handles("einsum")
def einsum(importer: Importer, a: Mapping[str, Any]) -> Value:
    tensors = a["tensors"]
    operands, result = parse(a["equation"], len(tensors))
    if not result or any(
        isinstance(x, Value) and axes[0] != result[0] for x, axes in zip(tensors, operands, strict=True)
    ):
        raise Unsupported("samples must be the first axis of each operand and of the result")
    if len(tensors) == 1 and set(operands[0]) == set(result):
        return relabel(tensors[0], [operands[0].index(letter) for letter in result])
    if len(tensors) != 2:
        raise Unsupported("only equations of two operands, or that permute one, are converted; use several")
    (x, y), (one, two) = tensors, operands
    if isinstance(y, Constant):
        return _with_constant(importer, x, one, y, two, result)
    if isinstance(x, Constant):
        return _with_constant(importer, y, two, x, one, result)
    shared = "".join(letter for letter in result if letter in one and letter in two)
    summed = "".join(letter for letter in one if letter in two and letter not in result)
    left, right = ("".join(n for n in axes if n not in shared + summed) for axes in (one, two))
    if set(shared + left + right) != set(result):
        raise Unsupported("an axis of one operand alone is summed over; use sum() before")
    sizes = dict(zip(one + two, importer.shape(x) + importer.shape(y), strict=True))
    a_side = _grouped(importer, x, one, [*shared, left, summed])
    b_side = _grouped(importer, y, two, [*shared, summed, right])
    return _apart(importer, product(importer, a_side, b_side), sizes, shared + left + right, result)

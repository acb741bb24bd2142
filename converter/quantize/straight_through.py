"""Rounding that passes gradients straight through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class RoundClamp(torch.autograd.Function):
    """clamp(round half to even of `value` + `offset`, `low`, `high`) in the dtype of `value`; NaN counts as 0.

    The gradient is that of a clamp: 1 where the result was not clamped, else 0.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, offset: int, low: int, high: int) -> Tensor:
        rounded = torch.nan_to_num(value, nan=0.0, posinf=torch.inf, neginf=-torch.inf).round_().add_(offset)
        stored = rounded.clamp(low, high)
        ctx.save_for_backward(rounded == stored)
        return stored

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (kept,) = ctx.saved_tensors
        return gradients[0] * kept, None, None, None


def straight(value: Tensor, result: Tensor) -> Tensor:
    """`result`, a constant as far as gradients are concerned, with the gradient of `value`."""
    return Straight.apply(value, result)


class Straight(torch.autograd.Function):
    """See `straight`."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, result: Tensor) -> Tensor:
        return result.to(value.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None

"""What an fx node becomes while a graph is imported: an activation with its layout, or a constant."""

from __future__ import annotations

from dataclasses import dataclass

import torch

MOST = torch.finfo(torch.float32).max
"""Stands for infinity, which a file does not hold."""


def finite(tensor: torch.Tensor) -> torch.Tensor:
    """float32 with the greatest numbers in the place of infinities."""
    return tensor.float().clamp(-MOST, MOST)


@dataclass(frozen=True)
class Value:
    """An activation of the graph under construction.

    `axes[i]` is the torch axis stored as axis i of the graph tensor `name`; `axes[0]` is 0, the batch.
    `expanded` is the torch shape that a pending broadcast (`expand`) gives it, resolved by elementwise arithmetic.
    """

    name: str
    axes: tuple[int, ...]
    expanded: tuple[int, ...] | None = None

    @property
    def rank(self) -> int:
        return len(self.axes)


@dataclass(frozen=True)
class Constant:
    """A tensor known at conversion, in torch's own layout. `name` is its state-dict key, or that of the operation.

    `scales` [1] or [O] are those of the symmetric int8 values that it was dequantized from, by index of axis 0.
    """

    tensor: torch.Tensor
    name: str
    scales: torch.Tensor | None = None


def plain(rank: int) -> tuple[int, ...]:
    """Axes of a tensor stored as torch has it."""
    return tuple(range(rank))


def channels_last(rank: int) -> tuple[int, ...]:
    """Axes of a tensor whose torch channel axis 1 is stored last: NHWC, NLC, NC."""
    return (0, *range(2, rank), 1) if rank > 2 else plain(rank)

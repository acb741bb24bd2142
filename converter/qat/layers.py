"""int8 weights and int32 biases of a layer as torch tensors with straight-through gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.converter.quantize.straight_through import RoundClamp
from edgenet.converter.quantize.weights import LARGEST_BIAS, SMALLEST_SCALE


def weight_scales(
    weight: Tensor, bias: Tensor | None, input_scale: Tensor, output_scale: Tensor | None = None
) -> Tensor:
    """Scale of each output channel [O], float64, without gradient: `quantize.weights.weight_scales` to the bit."""
    with torch.no_grad():
        scale = weight.abs().flatten(1).amax(1).double() / 127
        if output_scale is not None:
            scale = torch.minimum(scale, output_scale.to(scale.device) / input_scale)
        if bias is not None:
            scale = torch.maximum(scale, bias.double().abs() / (input_scale * LARGEST_BIAS))
        return scale.clamp_min(SMALLEST_SCALE)


def integer_layer(
    weight: Tensor, bias: Tensor | None, input_scale: Tensor, output_scale: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """(weight float32 [O, ...], bias float64 [O], scale float64 [O]): whole numbers, to the bit those that
    `quantize.weights.quantize_weights` rounds to nearest. `output_scale`: that of an int8 result.
    """
    scale = weight_scales(weight, bias, input_scale, output_scale)
    stored = round_straight(weight.double() / scale.reshape(-1, *[1] * (weight.dim() - 1)), 127)
    if bias is None:
        return stored.float(), torch.zeros_like(scale), scale
    return stored.float(), round_straight(bias.double() / (input_scale * scale), LARGEST_BIAS), scale


def round_straight(value: Tensor, largest: int) -> Tensor:
    """`value` rounded half to even and clamped to `largest` on both sides."""
    return RoundClamp.apply(value, 0, -largest, largest)

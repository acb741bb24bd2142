"""From pixels to the network's input: per-channel mean and deviation, or the mean image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgenet.graph import Preprocessing


@dataclass(frozen=True)
class Normalization:
    """Maps pixels x in 0..1 to (x - mean) / std. `mean` is [1, C, 1, 1], or [1, C, H, W] for a mean image."""

    mean: Tensor
    std: Tensor

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalised [N, C, H, W] of pixels in 0..1."""
        return (pixels - self.mean) / self.std

    def preprocessing(self) -> Preprocessing | None:
        """What a converted file says about its pictures; None for a mean image, which it cannot express."""
        if self.mean.shape[-1] > 1:
            return None
        mean, std = (tuple(float(value) for value in part.flatten()) for part in (self.mean, self.std))
        return Preprocessing(None, None, mean=mean, std=std, color="L" if len(mean) == 1 else "RGB")


def scaled(images: Tensor) -> Tensor:
    """uint8 pictures as float32 in 0..1."""
    return images.float().div_(255)


def fit(images: Tensor, kind: str) -> Normalization:
    """The normalization of the training pictures uint8 [N, C, H, W]: "channel" or "mean-image".

    With a mean image, each channel is still divided by its deviation, that of what is left after the subtraction.
    """
    channels = images.shape[1]
    flat = images.transpose(0, 1).reshape(channels, -1)
    count = flat.shape[1]
    if kind == "mean-image":
        mean = images.sum(0, dtype=torch.float64) / len(images) / 255
        square = _squares(flat) / count
        variance = square - mean.square().mean((1, 2))
        mean = mean[None]
    else:
        mean = flat.sum(1, dtype=torch.float64) / count / 255
        variance = _squares(flat) / count - mean.square()
        mean = mean.view(1, channels, 1, 1)
    deviation = variance.clamp_min(1e-12).sqrt().view(1, channels, 1, 1)
    return Normalization(mean.float(), deviation.float())


def _squares(flat: Tensor) -> Tensor:
    """Sum of squared pixels (in 0..1) by channel of uint8 [C, M], exact: counts of the 256 values are multiplied."""
    values = (torch.arange(256, dtype=torch.float64) / 255).square()
    return torch.stack([torch.bincount(channel.int(), minlength=256).double() @ values for channel in flat])

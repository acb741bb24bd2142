"""Changes to a batch of pictures [N, C, H, W] that keep their labels. Each picture is changed on its own.

Every function draws from the generator it is given, and from nothing else: same seed, same pictures.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from .recipe import Recipe

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


def augment(pixels: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """Pixels in 0..1 after the recipe's flips, scales, crops and colour jitter."""
    if recipe.flip:
        pixels = flip(pixels, generator)
    if recipe.scale:
        pixels = scale(pixels, recipe.scale, generator)
    if recipe.crop:
        pixels = crop(pixels, recipe.crop, generator)
    if recipe.jitter:
        pixels = jitter(pixels, recipe.jitter, generator)
    return pixels


def flip(pixels: Tensor, generator: Generator) -> Tensor:
    """Mirror half of the pictures, left to right."""
    chosen = torch.rand(len(pixels), generator=generator) < 0.5
    return torch.where(chosen.view(-1, 1, 1, 1), pixels.flip(-1), pixels)


def crop(pixels: Tensor, padding: int, generator: Generator) -> Tensor:
    """Surround each picture by `padding` pixels of 0 and cut one of the same size at a random place."""
    count, channels, height, width = pixels.shape
    padded = functional.pad(pixels, (padding,) * 4)
    top, left = torch.randint(0, 2 * padding + 1, (2, count), generator=generator)
    rows = (top[:, None] + torch.arange(height)).view(count, 1, height, 1)
    columns = (left[:, None] + torch.arange(width)).view(count, 1, 1, width)
    images = torch.arange(count).view(count, 1, 1, 1)
    return padded[images, torch.arange(channels).view(1, channels, 1, 1), rows, columns]


def scale(pixels: Tensor, share: float, generator: Generator) -> Tensor:
    """Resize each picture about its centre by a factor from 1 - share to 1 + share, bilinearly, at the same size.

    What a smaller picture leaves free is 0.
    """
    count = len(pixels)
    factors = 1 + share * _signed(count, generator)
    transform = torch.zeros(count, 2, 3)
    transform[:, 0, 0] = transform[:, 1, 1] = 1 / factors
    grid = functional.affine_grid(transform, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def jitter(pixels: Tensor, share: float, generator: Generator) -> Tensor:
    """Multiply brightness, contrast and (three channels) saturation by factors from 1 - share to 1 + share each."""
    count, channels = pixels.shape[:2]
    brightness, contrast, saturation = (1 + share * _signed((3, count, 1, 1, 1), generator)).unbind()
    pixels = pixels * brightness
    mean = pixels.mean((1, 2, 3), keepdim=True)
    pixels = mean + (pixels - mean) * contrast
    if channels == 3:
        grey = (pixels * torch.tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)
        pixels = grey + (pixels - grey) * saturation
    return pixels.clamp(0, 1)


def cutout(inputs: Tensor, side: int, generator: Generator) -> Tensor:
    """Set a square of `side` pixels to 0, the mean of normalised inputs (DeVries and Taylor 2017).

    Its centre is any pixel, so it may reach beyond the picture's edge.
    """
    return inputs * ~_square(inputs, torch.full((len(inputs),), side), generator)


def _square(inputs: Tensor, sides: Tensor, generator: Generator) -> Tensor:
    """Where [N, 1, H, W] a square of sides[n] pixels about a random pixel of picture n lies."""
    count, _, height, width = inputs.shape
    centres = torch.rand(2, count, generator=generator)
    inside = []
    for length, centre in zip((height, width), centres, strict=True):
        first = (centre * length).int() - sides // 2
        positions = torch.arange(length)
        inside.append((positions >= first[:, None]) & (positions < (first + sides)[:, None]))
    rows, columns = inside
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _signed(shape: int | tuple[int, ...], generator: Generator) -> Tensor:
    """Uniform numbers from -1 to 1."""
    return 2 * torch.rand(shape, generator=generator) - 1

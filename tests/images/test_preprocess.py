"""Preprocessing gives the bits of torchvision's transforms; their rules are written out here with torch and pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from edgenet.errors import InputError
from edgenet.graph import Preprocessing
from edgenet.images import preprocess
from tests.images.pictures import IMAGENET, gradient

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def resize(image: Image.Image, size: int, interpolation: str) -> Image.Image:
    """torchvision.transforms.functional.resize with an int, antialias as PIL always does."""
    width, height = image.size
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = size, int(size * long / short)
    new_width, new_height = (new_short, new_long) if width <= height else (new_long, new_short)
    if (width, height) == (new_width, new_height):
        return image
    return image.resize((new_width, new_height), RESAMPLING[interpolation])


def center_crop(image: Image.Image, size: int) -> Image.Image:
    """torchvision.transforms.functional.center_crop."""
    width, height = image.size
    if size > width or size > height:
        left = (size - width) // 2 if size > width else 0
        top = (size - height) // 2 if size > height else 0
        right = (size - width + 1) // 2 if size > width else 0
        bottom = (size - height + 1) // 2 if size > height else 0
        image = ImageOps.expand(image, (left, top, right, bottom), 0)
        width, height = image.size
        if size == width and size == height:
            return image
    top, left = round((height - size) / 2.0), round((width - size) / 2.0)
    return image.crop((left, top, left + size, top + size))


def normalized(image: Image.Image, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """ToTensor and Normalize."""
    tensor = torch.from_numpy(np.array(image, np.uint8, copy=True)).view(image.size[1], image.size[0], -1)
    tensor = tensor.permute(2, 0, 1).contiguous().to(torch.float32).div(255)
    mean_tensor, std_tensor = torch.as_tensor(mean), torch.as_tensor(std)
    return tensor.sub_(mean_tensor.view(-1, 1, 1)).div_(std_tensor.view(-1, 1, 1)).unsqueeze(0).numpy()


sides = st.integers(1, 70)


@settings(max_examples=150, deadline=None)
@given(
    width=sides,
    height=sides,
    size=st.none() | st.integers(1, 60),
    crop=st.none() | st.integers(1, 60),
    interpolation=st.sampled_from(sorted(RESAMPLING)),
    seed=st.integers(0, 99),
)
def test_bits_of_torchvision(width, height, size, crop, interpolation, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    settings_ = Preprocessing(size, crop, interpolation)
    image = Image.fromarray(pixels)
    if size:
        image = resize(image, size, interpolation)
    if crop:
        image = center_crop(image, crop)
    expected = normalized(image, settings_.mean, settings_.std)
    found = preprocess(pixels, settings_)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)


def test_every_pixel_value_is_normalized_as_torch_does():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    settings_ = Preprocessing(None, None)
    np.testing.assert_array_equal(
        preprocess(ramp, settings_), normalized(Image.fromarray(ramp), settings_.mean, settings_.std)
    )


def test_the_imagenet_default():
    found = preprocess(gradient(500, 333), IMAGENET)
    assert found.shape == (1, 3, 224, 224)
    expected = normalized(center_crop(resize(gradient(500, 333), 256, "bilinear"), 224), IMAGENET.mean, IMAGENET.std)
    np.testing.assert_array_equal(found, expected)


def test_channel_orders():
    image = gradient(9, 9)
    half = (0.5, 0.5, 0.5)
    rgb = preprocess(image, Preprocessing(None, None, mean=half, std=half))
    bgr = preprocess(image, Preprocessing(None, None, mean=half, std=half, color="BGR"))
    np.testing.assert_array_equal(bgr, rgb[:, ::-1])
    assert bgr.flags.c_contiguous
    grey = preprocess(image, Preprocessing(None, 4, mean=(0.5,), std=(0.25,), color="L"))
    np.testing.assert_array_equal(grey, normalized(center_crop(image.convert("L"), 4), (0.5,), (0.25,)))


def test_unknown_settings_are_refused():
    with pytest.raises(InputError, match="color 'XYZ'"):
        preprocess(gradient(9, 9), Preprocessing(color="XYZ"))
    with pytest.raises(InputError, match="interpolation 'sinc'"):
        preprocess(gradient(9, 9), Preprocessing(interpolation="sinc"))

"""Pictures in, labels out: reading any picture as RGB, preprocessing as torchvision does it, the most probable labels.

Reading and resizing need pillow, which is imported on first use.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgenet.errors import InputError
from edgenet.graph import INTERPOLATIONS, Preprocessing

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS: Final = 89_478_485
"""Largest picture that is read or made, in pixels; pillow's own threshold for a decompression bomb."""
TRANSPARENT: Final = ("LA", "La", "PA", "RGBA", "RGBa")
"""pillow's modes with an alpha channel."""

Picture = Any
"""A path, a PIL image, or an array [H, W, 3] of uint8."""


def load_image(source: Picture) -> Image.Image:
    """A picture as a PIL image of mode RGB, turned upright by its EXIF orientation.

    Transparent pixels show white, 16-bit grey keeps its upper 8 bits, of an animation the first frame counts.
    Raises InputError for what cannot be read.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise InputError("reading pictures needs pillow; install it with: pip install 'edgenet[images]'.") from None
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _upright(source, "the picture")
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"a picture is a path, a PIL image or an HxWx3 uint8 array, not {type(source).__name__}.")
    name = os.fspath(source)
    if not os.path.exists(name):
        raise InputError(f"{name} does not exist.")
    if not os.path.isfile(name):
        raise InputError(f"{name} is not a file.")
    try:
        image = Image.open(name)
    except UnidentifiedImageError:
        raise InputError(f"{name} is not a picture of a known kind.") from None
    except Image.DecompressionBombError:
        raise InputError(f"{name} has more than {MAX_PIXELS} pixels.") from None
    except Exception as error:  # decoders raise exceptions of every kind for damaged files
        raise InputError(f"{name} cannot be read: {_reason(error)}.") from error
    with image:
        return _upright(image, name)


def _from_array(array: np.ndarray) -> Image.Image:
    from PIL import Image

    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise InputError(f"a picture array is uint8 [H, W, 3], not {array.dtype} {list(array.shape)}.")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise InputError(f"the picture has more than {MAX_PIXELS} pixels.")
    return Image.fromarray(np.ascontiguousarray(array))


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120].rstrip(".")


def _upright(image: Image.Image, name: str) -> Image.Image:
    from PIL import ImageOps

    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(f"{name} has {width} x {height} pixels, more than {MAX_PIXELS}.")
    if width * height == 0:
        raise InputError(f"{name} has no pixels.")
    try:
        image.load()
        return _as_rgb(ImageOps.exif_transpose(image), name)
    except InputError:
        raise
    except Exception as error:  # decoders raise exceptions of every kind for damaged files
        raise InputError(f"{name} is truncated or damaged: {_reason(error)}.") from error


def _as_rgb(image: Image.Image, name: str) -> Image.Image:
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F":
        raise InputError(f"{name} holds floating-point pixels; save it with 8 bits per channel.")
    if image.mode == "I" or image.mode.startswith("I;16"):
        wide = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray((wide >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in TRANSPARENT or "transparency" in image.info:
        above = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", above.size, "white"), above).convert("RGB")
    return image.convert("RGB")


def preprocess(image: Picture, preprocessing: Preprocessing) -> np.ndarray:
    """The network's input float32 [1, 3, H, W] (one channel where `color` is "L"), in C order.

    The same bits as torchvision's Resize(resize, interpolation), CenterCrop(crop), ToTensor(), Normalize(mean, std) on
    PIL images. Raises InputError for a picture that cannot be read or resized.
    """
    rgb = load_image(image)
    if preprocessing.color == "L":
        rgb = rgb.convert("L")
    elif preprocessing.color not in ("RGB", "BGR"):
        raise InputError(f"the preprocessing's color {preprocessing.color!r} is none of RGB, BGR, L.")
    if preprocessing.resize is not None:
        rgb = _resize_shorter_side(rgb, preprocessing.resize, preprocessing.interpolation)
    if preprocessing.crop is not None:
        rgb = _centre_crop(rgb, preprocessing.crop)
    pixels = np.asarray(rgb)
    channels_first = np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
    if preprocessing.color == "BGR":
        channels_first = channels_first[::-1]
    unit = channels_first.astype(np.float32) / np.float32(255)
    mean = np.asarray(preprocessing.mean, np.float32).reshape(-1, 1, 1)
    std = np.asarray(preprocessing.std, np.float32).reshape(-1, 1, 1)
    return ((unit - mean) / std)[None]


def _resize_shorter_side(image: Image.Image, size: int, interpolation: str) -> Image.Image:
    """Shorter side to `size`, the longer one to int(size * long / short)."""
    from PIL.Image import Resampling

    if interpolation not in INTERPOLATIONS:
        raise InputError(f"the interpolation {interpolation!r} is none of {', '.join(INTERPOLATIONS)}.")
    width, height = image.size
    longer = int(size * max(width, height) / min(width, height))
    if size * longer > MAX_PIXELS:
        raise InputError(f"a picture of {width} x {height} is too elongated to resize its shorter side to {size}.")
    target = (size, longer) if width <= height else (longer, size)
    return image if target == image.size else image.resize(target, Resampling[interpolation.upper()])


def _centre_crop(image: Image.Image, size: int) -> Image.Image:
    """The central square of side `size`; a smaller picture is first padded with black, the odd pixel behind."""
    from PIL import Image

    width, height = image.size
    if width < size or height < size:
        padded = Image.new(image.mode, (max(width, size), max(height, size)))
        padded.paste(image, (max(size - width, 0) // 2, max(size - height, 0) // 2))
        image, (width, height) = padded, padded.size
    left, top = round((width - size) / 2.0), round((height - size) / 2.0)
    return image.crop((left, top, left + size, top + size))


def imagenet_labels() -> list[str]:
    """The names of ImageNet's 1,000 classes in the order of the networks' outputs.

    They are the list `classification_classes_ILSVRC2012.txt` of OpenCV's samples (Apache-2.0).
    """
    return files("edgenet").joinpath("labels_imagenet.txt").read_text("utf-8").splitlines()


def probabilities(values: np.ndarray) -> np.ndarray:
    """Probabilities [classes], float64, from a classifier's output for one sample.

    Values in 0..1 whose sum is within 1e-3 of 1 are probabilities already; all others are logits (or logarithms of
    probabilities) and go through softmax. Raises InputError where a value is NaN or infinite, or where there is no one
    axis of classes.
    """
    array = np.asarray(values, np.float64)
    if sum(size > 1 for size in array.shape) > 1:
        shape = "x".join(map(str, array.shape))
        raise InputError(
            f"the network gives {shape} values for a picture, not one for each label; use run(), or -o FILE."
        )
    flat = array.reshape(-1)
    if flat.size == 0 or not np.isfinite(flat).all():
        raise InputError("the network's output is empty, NaN or infinite; check the picture and the model.")
    if flat.min() >= 0 and flat.max() <= 1 and abs(flat.sum() - 1) <= 1e-3:
        return flat
    exponentials = np.exp(flat - flat.max())
    return exponentials / exponentials.sum()


def top(logits: np.ndarray, labels: Sequence[str] | None, k: int = 5) -> list[tuple[str, float]]:
    """The `k` (at most as many as there are) most probable labels with their `probabilities`, best first.

    `logits` is a classifier's output for one sample. Without labels, classes are named by their number; of equal
    probabilities the smaller number comes first. Raises InputError.
    """
    chances = probabilities(logits)
    if labels is not None and len(labels) != chances.size:
        raise InputError(f"the network gives {chances.size} values for one sample, but there are {len(labels)} labels.")
    if not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"the number of labels to show must be a whole number of at least 1, not {k!r}.")
    names = [str(i) for i in range(chances.size)] if labels is None else list(labels)
    best: list[int] = np.argsort(-chances, kind="stable")[:k].tolist()
    return [(names[i], float(chances[i])) for i in best]

"""Photographs that come inside Python packages, some to calibrate with and others to test on, and crops of them."""

from __future__ import annotations

import importlib.util
import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgenet.errors import InputError
from edgenet.images import load_image, preprocess

if TYPE_CHECKING:
    from edgenet.graph import Preprocessing

PACKAGES = {"skimage": "scikit-image", "alibi": "alibi", "sklearn": "scikit-learn"}
"""Distribution of each package that photographs are taken from."""
TEST = (
    "skimage/data/astronaut.png",
    "skimage/data/chelsea.png",
    "skimage/data/coffee.png",
    "alibi/data/cats.tar.gz/n02123045_281_tabby_cat.jpg",
    "alibi/data/cats.tar.gz/n02123394_283_Persian_cat.jpg",
    "sklearn/datasets/images/flower.jpg",
)
CALIBRATION = (
    "skimage/data/rocket.jpg",
    "skimage/data/motorcycle_left.png",
    "skimage/data/camera.png",
    "skimage/data/coins.png",
    "skimage/data/grass.png",
    "alibi/data/cats.tar.gz/n02123597_284_Siamese_cat.jpg",
    "alibi/data/cats.tar.gz/n02124075_285_Egyptian_cat.jpg",
    "sklearn/datasets/images/china.jpg",
)
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True)
class Photograph:
    """An RGB picture (PIL) and where it comes from."""

    name: str
    picture: Any


def packaged(names: Sequence[str]) -> list[Photograph]:
    """Those of `names` (package/path, or package/archive.tar.gz/member) whose package is installed.

    Raises InputError when there is none.
    """
    found = [Photograph(name, load_image(source)) for name in names if (source := _open(name)) is not None]
    if not found:
        wanted = ", ".join(PACKAGES.values())
        raise InputError(f"No package with photographs is installed ({wanted}). Install one, or name a folder.")
    return found


def in_folder(folder: Path) -> list[Photograph]:
    """The pictures of a folder and its subfolders, by name. Raises InputError when there is none."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"The folder {folder} holds no pictures.")
    return [Photograph(str(path.relative_to(folder)), load_image(path)) for path in files]


def _open(name: str) -> Any:
    """What `load_image` takes, or None where the package or the file is missing."""
    package, _, inside = name.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    archive, separator, member = inside.partition(".tar.gz/")
    if not separator:
        return root / inside if (root / inside).is_file() else None
    path = root / f"{archive}.tar.gz"
    if not path.is_file():
        return None
    from PIL import Image

    with tarfile.open(path) as packed:
        stream = packed.extractfile(member)
        return None if stream is None else Image.open(io.BytesIO(stream.read()))


def crop(picture: Any, rng: np.random.Generator) -> Any:
    """A random part of a picture: 20 to 100 % of its area, sides 3:4 to 4:3, perhaps mirrored, brighter or darker."""
    from PIL import Image, ImageEnhance

    width, height = picture.size
    area, ratio = width * height * rng.uniform(0.2, 1.0), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    wide, high = min(width, int(np.sqrt(area * ratio))), min(height, int(np.sqrt(area / ratio)))
    left, top = int(rng.integers(0, width - wide + 1)), int(rng.integers(0, height - high + 1))
    part = picture.crop((left, top, left + wide, top + high))
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    part = ImageEnhance.Brightness(part).enhance(rng.uniform(0.8, 1.2))
    return ImageEnhance.Contrast(part).enhance(rng.uniform(0.8, 1.2))


def inputs(photographs: Sequence[Photograph], count: int, preprocessing: Preprocessing, seed: int) -> np.ndarray:
    """float32 [photographs + count, C, H, W]: every photograph, then `count` crops of them taken in turns."""
    rng = np.random.default_rng(seed)
    pictures = [photograph.picture for photograph in photographs]
    pictures += [crop(pictures[i % len(photographs)], rng) for i in range(count)]
    return np.concatenate([preprocess(picture, preprocessing) for picture in pictures])

